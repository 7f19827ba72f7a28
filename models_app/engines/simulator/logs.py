"""vLLM's log: the same lines in the same order, with the prefixes that name the processes."""

import os
import sys
import time
from collections.abc import Iterable
from http import HTTPStatus

_PID = os.getpid()


def api(module: str, message: str, level: str = "INFO") -> None:
    """A line of the API server."""
    _line("APIServer", module, message, level)


def core(module: str, message: str, level: str = "INFO") -> None:
    """A line of the engine core."""
    _line("EngineCore", module, message, level)


def raw(process: str, text: str) -> None:
    """A line without a time, as progress bars, tracebacks and uvicorn print them."""
    _write(f"({process} pid={_PID}) {line}" for line in text.splitlines())


def access(client: tuple[str, int], method: str, target: str, status: int) -> None:
    """The line is written as uvicorn's access log writes each answered request."""
    phrase = HTTPStatus(status).phrase
    place = f"{client[0]}:{client[1]}"
    _write([f'(APIServer pid={_PID}) INFO:     {place} - "{method} {target} HTTP/1.1" {status} {phrase}'])


def traceback(*lines: str, process: str = "EngineCore") -> None:
    """An exception as Python prints it."""
    raw(process, "Traceback (most recent call last):\n" + "\n".join(lines))


def _line(process: str, module: str, message: str, level: str) -> None:
    stamp = time.strftime("%m-%d %H:%M:%S")
    _write(f"({process} pid={_PID}) {level} {stamp} [{module}] {line}" for line in message.splitlines() or [""])


def _write(lines: Iterable[str]) -> None:
    sys.stdout.write("".join(line + "\n" for line in lines))
    sys.stdout.flush()
