"""Services of one installation, forked from a process that has loaded all they need, as `sardeenz up` does it.

`python -m tests.e2e.nursery` is that process. It reads wishes, a line of JSON each, and answers with a pid.
"""

import atexit
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, Any

from django.conf import settings

from sardeenz.run import forks

ROOT = Path(__file__).resolve().parents[2]


class Service:
    """A forked process of somebody else's, as `subprocess.Popen` would show it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._handle = os.pidfd_open(pid)

    def __del__(self) -> None:
        os.close(self._handle)

    def send_signal(self, number: signal.Signals) -> None:
        """Nothing happens when it has ended."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._handle, number)

    def kill(self) -> None:
        """It ends by SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> None:
        """Until it has ended. Raises TimeoutExpired after `timeout` seconds."""
        ended = select.poll()
        ended.register(self._handle, select.POLLIN)
        if not ended.poll(None if timeout is None else timeout * 1000):
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)


class Nursery:
    """Where the services of one environment come from."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = dict(environment)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.nursery"],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, argv: Sequence[str], log: IO[bytes], **own: str | int) -> Service:
        """`python -m ARGV`, with these settings its own; its words go to the end of the log."""
        assert self.process.stdin is not None and self.process.stdout is not None
        environment = self.environment | {f"SARDEENZ_{name}": str(value) for name, value in own.items()}
        wish = {"argv": list(argv), "environment": environment, "settings": own, "log": log.name}
        self.process.stdin.write(json.dumps(wish) + "\n")
        self.process.stdin.flush()
        return Service(int(self.process.stdout.readline()))

    def close(self) -> None:
        """It ends; what it made lives on."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


_kept: list[Nursery] = []


def nursery(environment: Mapping[str, str]) -> Nursery:
    """The one of this environment; it is kept until another environment is asked for."""
    if not _kept or _kept[0].environment != environment:
        close()
        _kept.append(Nursery(environment))
    return _kept[0]


def close() -> None:
    """End the nursery that is kept, if there is one."""
    while _kept:
        _kept.pop().close()


atexit.register(close)


def serve() -> None:
    """Fork what is wished for, until nobody wishes any more."""
    forks.preload()
    for line in sys.stdin:
        _reap()
        wish = json.loads(line)
        with open(wish["log"], "ab") as log:
            child = forks.fork(partial(_become, wish), output=log.fileno())
        print(child.pid, flush=True)


def _become(wish: dict[str, Any]) -> None:
    for name, value in wish["settings"].items():
        setattr(settings, name, value)  # they were read before the fork
    forks.become(wish["argv"], wish["environment"], " ".join(wish["argv"]))


def _reap() -> None:
    """Those that have ended; whoever was told of one holds it already."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


if __name__ == "__main__":
    serve()
