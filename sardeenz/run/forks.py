"""One import, many processes: services are forked from a process that has loaded all they need.

A child shares the pages of what was loaded and is there at once. Whoever forks has no threads, and has opened neither
the database nor Redis nor a device: what is opened before a fork would be everybody's.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn, ParamSpec, TypeVar, cast

import celery.platforms
import django
from setproctitle import setproctitle

from sardeenz.celery import app as celery_app

PRELOADED = (
    "autobahn.twisted.websocket",
    "billiard.pool",
    "celery.__main__",
    "celery.app.amqp",
    "celery.app.control",
    "celery.app.events",
    "celery.app.log",
    "celery.app.routes",
    "celery.apps.beat",
    "celery.apps.worker",
    "celery.bin.beat",
    "celery.bin.celery",
    "celery.bin.worker",
    "celery.concurrency.solo",
    "celery.events.state",
    "celery.fixups.django",
    "celery.worker.autoscale",
    "celery.worker.components",
    "celery.worker.consumer",
    "celery.worker.consumer.delayed_delivery",
    "celery.worker.strategy",
    "kombu.transport.redis",
    "redis.asyncio",
    "channels.auth",
    "channels.generic.websocket",
    "channels_redis.pubsub",
    "daphne.endpoints",
    "daphne.http_protocol",
    "daphne.ws_protocol",
    "django.contrib.admin.sites",
    "django.core.handlers.asgi",
    "gateway.app",
    "models_app.tasks",
    "gateway.tasks",
    "sardeenz.run.serve_gateway",
    "sardeenz.asgi",
    "sardeenz.urls",
    "uvloop",
    "uvicorn.lifespan.on",
)
"""What services import as they start. Without daphne's server: with it Twisted opens its loop."""
Given = ParamSpec("Given")
Result = TypeVar("Result")


class ForkFailed(RuntimeError):
    """What was to be done in a child failed; the message is the end of its traceback."""


def preload() -> None:
    """Load everything once. From then on the collector leaves it alone, so that its pages stay shared."""
    gc.disable()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sardeenz.settings")
    django.setup()
    for name in PRELOADED:
        importlib.import_module(name)
    celery_app.loader.import_default_modules()
    celery_app.finalize()
    celery.platforms._setproctitle = None  # type: ignore[attr-defined] # it would take the titles by which services are found
    gc.freeze()
    gc.enable()


class Child:
    """A forked process, as `subprocess.Popen` would show it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self) -> int:
        """Its exit status, once it has ended."""
        if self.returncode is None:
            _, status = os.waitpid(self.pid, 0)
            self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Nothing happens when it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """The child ends by SIGKILL; nothing happens when the child has ended already."""
        self.send_signal(signal.SIGKILL)


def fork(work: Callable[[], object], *, output: int) -> Child:
    """Do the work in a child with a session of its own, whose output and errors go to the file `output`."""

    def work_apart() -> None:
        os.setsid()
        null = os.open(os.devnull, os.O_RDONLY)
        for number, source in enumerate((null, output, output)):
            os.dup2(source, number)
        _close_the_rest()
        work()

    _flush()
    pid = os.fork()
    if not pid:
        _end_with(work_apart)
    return Child(pid)


def ask(work: Callable[Given, Result], *args: Given.args, **kwargs: Given.kwargs) -> Result:
    """What `work` returns, as JSON keeps it, done in a child that takes with it what it opened. Raises ForkFailed."""
    reads, writes = os.pipe()

    def tell() -> None:
        os.close(reads)
        try:
            answer: tuple[bool, object] = (True, work(*args, **kwargs))
        except Exception:
            answer = (False, traceback.format_exc())
        with os.fdopen(writes, "w") as pipe:
            json.dump(answer, pipe)

    _flush()
    pid = os.fork()
    if not pid:
        _end_with(tell)
    os.close(writes)
    with os.fdopen(reads) as pipe:
        said = pipe.read()
    os.waitpid(pid, 0)
    done, result = json.loads(said) if said else (False, "the child ended without a word")
    if not done:
        raise ForkFailed(str(result).strip()[-3000:])
    return cast(Result, result)


def become(argv: Sequence[str], environment: Mapping[str, str], title: str) -> NoReturn:
    """Go on as `python -m MODULE ARGUMENTS` in this process, which was forked a moment ago."""

    def run() -> None:
        setproctitle(title)  # it finds the place of the arguments by the first environment, so it comes first
        os.environ.clear()
        os.environ.update(environment)
        sys.argv = list(argv)
        runpy.run_module(argv[0], run_name="__main__", alter_sys=True)

    _end_with(run)


def _end_with(work: Callable[[], object]) -> NoReturn:
    """Do the work and end the process as the interpreter would; the frames below belong to the parent."""
    code = 1
    try:
        _forget_the_parent()
        work()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        _finish(code)


def _finish(code: int) -> NoReturn:
    """Wait for threads, do what was registered for the end, and end, whatever goes wrong with that."""
    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        _flush()
    finally:
        os._exit(code)


def _forget_the_parent() -> None:
    """Its handlers of signals and its work at the end are not the child's."""
    atexit._clear()
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE}:
        if signal.getsignal(number) not in (signal.SIG_DFL, None):
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _close_the_rest() -> None:
    """Every file but standard input, output and errors."""
    for number in [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]:
        if number > 2:
            with suppress(OSError):  # the listing's own
                os.close(number)


def _flush() -> None:
    """What waits in a buffer would be written by both."""
    sys.stdout.flush()
    sys.stderr.flush()
