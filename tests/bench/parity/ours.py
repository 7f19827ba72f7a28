"""Our side, a process of its own: the driver alone, without rows, on one core; what it saw is printed as JSON."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from gateway.benchmark.load.bodies import PATHS, Bodies
from gateway.benchmark.load.connection import Address
from gateway.benchmark.load.driver import Course, Driver
from gateway.benchmark.load.figures import Ledger
from gateway.benchmark.load.health import Watch
from gateway.benchmark.load.plan import Arrival, Lengths, Plan, Stream
from tests.bench.parity.engines import MODEL


async def closed_loop(url: str, calls: int, callers: int, tokens: int, prompts: tuple[str, ...]) -> dict[str, Any]:
    """The figures of a closed loop, and the CPU it took."""
    stream = Stream(MODEL, Arrival("closed", concurrency=callers), output=Lengths(tokens=tokens), prompts=prompts)
    plan = Plan((stream,), calls=calls)
    course = Course(stream, Address(url, "", PATHS["chat"]), Bodies(stream, MODEL, "1"), Ledger(stream.slo), "1")
    watch, began = Watch(), time.monotonic()
    await Driver(plan, [course]).run()
    cpu = watch.cpu_ratio() * (time.monotonic() - began)
    return {**course.ledger.figures(), "cpu_seconds": cpu}


if __name__ == "__main__":
    url, calls, callers, tokens, path = sys.argv[1:]
    texts = tuple(json.loads(line)["prompt"] for line in Path(path).read_text().splitlines())
    figures = uvloop.run(closed_loop(url, int(calls), int(callers), int(tokens), texts))
    sys.stdout.write(msgspec.json.encode(figures).decode())
