"""Recovery beside neighbours: a burst, a hung load, a dead sleeper. `pytest -s` prints how long a user waits."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from django.db import connection

from gpus import processes
from models_app.lifecycle import verbs
from models_app.models import Replica
from tests import factories
from tests.e2e.stack import Stack, wait_for
from tests.e2e.traffic import Clients
from tests.patience import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.e2e, pytest.mark.faults, pytest.mark.timeout(400)]
QUICK = ("--load-seconds", "0.2", "--enforce-eager")
WAIT_SECONDS = 90


@pytest.fixture
def stack(service_environment: dict[str, str], tmp_path: Path) -> Iterator[Stack]:
    """Everything running, with bounds short enough for a test."""
    short = {"SARDEENZ_TURN_SECONDS": "5", "SARDEENZ_MIN_RESIDENT_SECONDS": "2", "SARDEENZ_START_SECONDS": "600"}
    made = Stack(service_environment | short | {"SARDEENZ_STOP_SECONDS": "12"}, tmp_path)
    try:
        made.start()
        yield made
    finally:
        made.stop()
        connection.close()


def deployed(stack: Stack, gpu: int, gib: int, *args: str, **fields: object) -> Replica:
    deployment = factories.deployment(
        weights_bytes=gib * factories.GIB, kv_cap_bytes=None, max_model_len=6000, extra_args=[*QUICK, *args], **fields
    )
    return verbs.deploy(deployment, actor="test", gpu=stack.gpus[gpu])[0]


def asleep(stack: Stack, gpu: int, gib: int) -> Replica:
    replica = wait_for(deployed(stack, gpu, gib), "ready")
    verbs.sleep(replica, actor="test")
    return wait_for(replica, "sleeping")


def kill(stack: Stack, replica: Replica) -> None:
    processes.kill(stack.engines()[replica.marker])


async def ask(stack: Stack, replica: Replica, tokens: int = 2, words: int = 1) -> tuple[int, float, str]:
    """Status, seconds and body of one request that is not retried."""
    body = {"model": replica.spec["served_name"], "max_tokens": tokens, "ignore_eos": True}
    body |= {"messages": [{"role": "user", "content": "word " * words}]}
    headers = {"Authorization": f"Bearer {stack.key}"}
    began = time.monotonic()
    async with httpx2.AsyncClient(timeout=WAIT_SECONDS, trust_env=False, headers=headers) as client:
        try:
            answer = await client.post(f"{stack.url}/chat/completions", json=body)
        except httpx2.HTTPError as error:
            return 0, time.monotonic() - began, repr(error)
    return answer.status_code, time.monotonic() - began, answer.text


async def answered(stack: Stack, replica: Replica) -> float:
    """Seconds until it answers, asked again and again; inf when it does not for long."""
    began = time.monotonic()
    while time.monotonic() - began < WAIT_SECONDS:
        status, _, _ = await ask(stack, replica)
        if status == 200:
            return time.monotonic() - began
        await asyncio.sleep(0.5)
    return float("inf")


def test_a_burst_beside_a_sleeper_costs_it_a_wait_and_nothing_else(stack: Stack) -> None:
    quiet = asleep(stack, 0, 26)
    burst = deployed(stack, 0, 8, "--kv-bytes-per-token", str(4 * 2**20), "--tokens-per-second", "100")
    wait_for(burst, "ready")

    async def run() -> tuple[float, list[int], float]:
        talkers = [asyncio.create_task(ask(stack, burst, 1500, 3000)) for _ in range(5)]
        await asyncio.sleep(5)
        during = await answered(stack, quiet)
        told = [(await talker)[0] for talker in talkers]
        return during, told, await answered(stack, quiet)

    during, told, after = asyncio.run(run())
    quiet.refresh_from_db()
    print(f"burst: the sleeper answers after {during:.1f} s, after the burst {after:.1f} s; restarts {quiet.restarts}")
    assert told == [200] * 5
    assert (during < WAIT_SECONDS, after < WAIT_SECONDS) == (True, True)
    assert (quiet.state, quiet.restarts, quiet.generation) == ("ready", 0, 1)


@pytest.mark.parametrize("gpu", [1, 0])
def test_who_served_is_back_soon_while_a_load_hangs(stack: Stack, gpu: int) -> None:
    serving = wait_for(deployed(stack, 0, 16), "ready")
    hung = wait_for(deployed(stack, gpu, 16, "--hang", "health"), "starting")
    new = deployed(stack, 0, 16)
    kill(stack, serving)
    seconds = asyncio.run(answered(stack, serving))
    new_seconds = asyncio.run(answered(stack, new))
    print(f"load hangs on GPU {gpu}: who served answers after {seconds:.1f} s, the new one {new_seconds:.1f} s later")
    assert (seconds < WAIT_SECONDS, new_seconds < WAIT_SECONDS) == (True, True)
    hung.refresh_from_db()
    assert hung.state == "starting"


def test_a_sleeper_whose_engine_died_takes_its_turn_again(stack: Stack) -> None:
    died, awake = asleep(stack, 0, 60), None
    awake = wait_for(deployed(stack, 0, 60), "ready")
    kill(stack, died)
    until(lambda: Replica.objects.get(pk=died.pk).state != "sleeping", "its death is noticed")
    clients = Clients(stack.url, stack.key)

    async def turns() -> float:
        async with clients.session() as session:
            began = time.monotonic()
            await clients.stream(session, died.spec["served_name"], 4)
            seconds = time.monotonic() - began
            await clients.stream(session, awake.spec["served_name"], 4)
            await clients.stream(session, died.spec["served_name"], 4)
        return seconds

    seconds = asyncio.run(turns())
    print(f"a sleeper died: it answers after {seconds:.1f} s beside an idle neighbour")
    assert clients.failed == []
