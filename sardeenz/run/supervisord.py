"""supervisord in a process that has loaded the product: services are forked, other programs are executed."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from setproctitle import setproctitle
from supervisor.options import ServerOptions
from supervisor.supervisord import go

from sardeenz.run import forks, services


class Options(ServerOptions):  # type: ignore[misc]
    """How supervisord starts a program."""

    def execve(self, filename: str, argv: list[str], env: Mapping[str, str]) -> NoReturn:
        """In the child, after its files and its group were set up."""
        if argv[:2] == [sys.executable, "-m"]:
            forks.become(argv[2:], env, services.title(env[services.MARKER]))
        super().execve(filename, argv, env)
        raise AssertionError("an executed program does not return")


def main(conf: Path, directory: Path, marker: str) -> None:
    """Run from this directory, under this marker, until told to stop."""
    setproctitle(services.title(marker))
    os.chdir(directory)
    options = Options()
    options.realize(["-c", str(conf)])
    options.first = True
    options.test = False
    go(options)
    options.close_httpservers()
    options.close_logger()
