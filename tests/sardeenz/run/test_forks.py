"""Services forked from one import: each is a process of its own in every way but what it has loaded."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from sardeenz.run import leftovers, services


def said(program: str, *arguments: str) -> Any:
    """What a program that forks prints last, as JSON; it runs apart from us, for we have threads."""
    argv = [sys.executable, "-c", "from sardeenz.run import forks\n" + textwrap.dedent(program), *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_an_answer_comes_back_and_what_was_opened_for_it_does_not() -> None:
    program = """
        import json, os
        def work(number, *, more):
            os.environ["SEEN"] = "1"
            return [number + more, os.getpid()]
        value, pid = forks.ask(work, 1, more=2)
        print(json.dumps([value, pid != os.getpid(), "SEEN" in os.environ]))
    """
    assert said(program) == [3, True, False]


def test_what_goes_wrong_in_a_child_is_told() -> None:
    program = """
        import json, os
        def broken(): raise ValueError("no such thing")
        told = []
        for work in (broken, lambda: os._exit(3)):
            try: forks.ask(work)
            except forks.ForkFailed as error: told.append(str(error).splitlines()[-1])
        print(json.dumps(told))
    """
    assert said(program) == ["ValueError: no such thing", "the child ended without a word"]


@pytest.mark.parametrize(
    ("work", "code"),
    [
        ("lambda: None", 0),
        ("lambda: sys.exit(3)", 3),
        ("lambda: sys.exit('why')", 1),
        ("lambda: 1 / 0", 1),
        ("lambda: os.kill(os.getpid(), 9)", -9),
        ("lambda: os.kill(os.getpid(), 15)", -15),
    ],
)
def test_a_child_ends_as_a_program_would(work: str, code: int, tmp_path: Path) -> None:
    program = f"""
        import json, os, signal, sys
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with open(sys.argv[1], "ab") as log:
            child = forks.fork({work}, output=log.fileno())
        print(json.dumps(child.wait()))
    """
    log = tmp_path / "log"
    assert said(program, str(log)) == code
    assert ("ZeroDivisionError" in log.read_text()) == ("1 / 0" in work)


def test_a_child_keeps_no_file_of_its_parent(tmp_path: Path) -> None:
    program = """
        import json, os, sys
        held = open(sys.argv[1])
        with open(sys.argv[2], "ab") as log:
            child = forks.fork(lambda: print(json.dumps(sorted(os.listdir("/proc/self/fd")))), output=log.fileno())
        child.wait()
        print(open(sys.argv[2]).read().strip())
    """
    assert said(program, __file__, str(tmp_path / "log")) == ["0", "1", "2", "3"]  # the last is the listing's own


def test_a_service_has_its_own_arguments_environment_and_title(tmp_path: Path) -> None:
    (tmp_path / "asked.py").write_text(
        "import json, os, pathlib, signal, sys\n"
        "shown = pathlib.Path('/proc/self/cmdline').read_text().strip(chr(0))\n"
        "handler = signal.getsignal(signal.SIGTERM) == signal.SIG_DFL\n"
        "print(json.dumps([__name__, sys.argv[1:], os.environ.get('A'), 'B' in os.environ, shown, handler]))\n"
    )
    program = """
        import os, signal, sys
        os.environ["B"] = "the parent's"
        signal.signal(signal.SIGTERM, lambda *_: None)
        sys.path.insert(0, sys.argv[1])
        pid = os.fork()
        if not pid:
            forks.become(["asked", "one", "two"], {"A": "1"}, "sardeenz web [tag]")
        os.waitpid(pid, 0)
    """
    assert said(program, str(tmp_path)) == ["__main__", ["one", "two"], "1", False, "sardeenz web [tag]", True]


def test_a_forked_service_is_found_by_its_title(tmp_path: Path) -> None:
    tag = services.tag(tmp_path)
    shown = services.title(f"{tag}:gpu-GPU-1")
    assert services.named(shown, tag) == "gpu-GPU-1"
    assert services.named(shown, "another") is None
    program = "import sys; from setproctitle import setproctitle; setproctitle(sys.argv[1]); print(flush=True); input()"
    argv = [sys.executable, "-c", program, shown]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert [(each.pid, each.name) for each in leftovers.find(tmp_path)] == [(child.pid, "gpu-GPU-1")]
        child.kill()


def test_what_is_loaded_before_the_fork_opens_nothing() -> None:
    """A thread, a connection or a loop that the parent had would be everybody's."""
    program = """
        import json, os, sys, threading
        before = len(os.listdir("/proc/self/fd"))
        forks.preload()
        from django.db import connection
        from sardeenz.redis import client
        print(json.dumps([
            threading.active_count(), len(os.listdir("/proc/self/fd")) - before, connection.connection is None,
            client.cache_info().currsize, "twisted.internet.reactor" in sys.modules,
        ]))
    """
    assert said(program) == [1, 0, True, 0, False]
