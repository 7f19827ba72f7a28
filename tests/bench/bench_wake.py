"""Wake latency that is ours: a request to a sleeping engine that wakes in no time, until its first byte.

`make bench` runs this. Beside it, in the same loop, the same request to the same engine awake: the difference is what
waking through the whole control plane costs (gateway, database, queue, worker, canary, route table).
"""

import statistics
import time

import httpx2
import pytest

from models_app.lifecycle import verbs
from tests import factories
from tests.e2e.stack import Stack, wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.e2e, pytest.mark.timeout(600)]

ROUNDS = 100
ARGS = ["--load-seconds=0.2", "--wake-seconds=0", "--sleep-seconds=0", "--ttft-seconds=0", "--tokens-per-second=10000"]


def first_byte_seconds(session: httpx2.Client, stack: Stack, model: str) -> float:
    """From sending the request to the first byte of its streamed answer."""
    body = {"model": model, "prompt": "Hello", "max_tokens": 1, "stream": True}
    began = time.perf_counter()
    with session.stream("POST", f"{stack.url}/completions", json=body) as response:
        assert response.status_code == 200
        next(response.iter_raw())
        return time.perf_counter() - began


def test_wake_latency(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    [replica] = verbs.deploy(factories.deployment(extra_args=ARGS), actor="bench")
    wait_for(replica, "ready")
    model = replica.spec["served_name"]
    asleep, awake = [], []
    with httpx2.Client(headers={"Authorization": f"Bearer {stack.key}"}, timeout=60, trust_env=False) as session:
        for _ in range(ROUNDS):
            awake.append(first_byte_seconds(session, stack, model))
            replica.refresh_from_db()
            verbs.sleep(replica, actor="bench")
            wait_for(replica, "sleeping")
            asleep.append(first_byte_seconds(session, stack, model))
    with capsys.disabled():
        print(f"\nfirst byte, {ROUNDS} rounds   p50 ms   p99 ms   max ms")
        for name, seconds in (("awake", awake), ("asleep, waking", asleep)):
            ordered = sorted(1000 * value for value in seconds)
            print(
                f"{name:>24} {statistics.median(ordered):8.1f} {ordered[int(len(ordered) * 0.99) - 1]:8.1f} "
                f"{ordered[-1]:8.1f}"
            )
