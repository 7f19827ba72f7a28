"""The gateway as it is installed: a process of its own on the real PostgreSQL and Valkey."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator

import httpx2
import pytest
import pytest_asyncio
from asgiref.sync import sync_to_async
from django.db import connections

from gateway.access import keys
from gateway.models import UsageRecord
from models_app.models import Replica
from models_app.states import Goal, State
from models_app.traffic import activity
from sardeenz import events
from tests import factories
from tests.gateway.engines import Engine, echo

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def service(service_environment: dict[str, str], unused_tcp_port: int) -> Iterator[str]:
    environment = {**service_environment, "SARDEENZ_GATEWAY_PORT": str(unused_tcp_port)}
    process = subprocess.Popen(
        [sys.executable, "-m", "sardeenz.run.serve_gateway"], env=environment, stdin=subprocess.DEVNULL
    )
    yield f"http://127.0.0.1:{unused_tcp_port}"
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) in (0, -signal.SIGTERM)
    assert activity.read_reports() == []


@pytest_asyncio.fixture(autouse=True)
async def _close_the_threads_connection(transactional_db: None) -> AsyncIterator[None]:
    """The thread of sync_to_async keeps a connection that would outlive the test's database."""
    yield
    await sync_to_async(connections.close_all)()


async def ask(url: str, key: str) -> httpx2.Response | None:
    try:
        async with httpx2.AsyncClient(timeout=20) as client:
            headers = {"authorization": f"Bearer {key}"}
            return await client.post(f"{url}/v1/chat/completions", json={"model": "m"}, headers=headers)
    except httpx2.ConnectError:
        return None


async def until_answered(url: str, key: str, status: int) -> httpx2.Response:
    async with asyncio.timeout(30):
        while (answer := await ask(url, key)) is None or answer.status_code != status:
            await asyncio.sleep(0.05)
    return answer


async def test_a_key_a_route_a_wake_a_report_and_usage_through_real_services(service: str, engine: Engine) -> None:
    row, plain = await sync_to_async(prepare)(engine)
    answer = await until_answered(service, plain, 200)
    assert answer.json()["usage"]["prompt_tokens"] == 7
    assert engine.seen[0].headers["authorization"].startswith("Bearer ")
    (report,) = await sync_to_async(activity.read_reports)()
    assert report.routes == {f"{row.pk}:1"}
    async with asyncio.timeout(10):
        while not await UsageRecord.objects.filter(outcome="ok", prompt_tokens=7).aexists():
            await asyncio.sleep(0.05)
        while await sync_to_async(activity.last_used)(row.deployment_id) is None:
            await asyncio.sleep(0.05)


async def test_a_request_for_a_sleeping_model_turns_its_goal_and_goes_on_when_it_is_ready(
    service: str, engine: Engine
) -> None:
    row, plain = await sync_to_async(prepare)(engine, State.SLEEPING)
    await until_answered(service, "sk-srdz-wrong", 401)
    asked = asyncio.create_task(until_answered(service, plain, 200))
    async with asyncio.timeout(20):
        while not await Replica.objects.filter(pk=row.pk, goal=Goal.READY).aexists():
            await asyncio.sleep(0.05)
    await Replica.objects.filter(pk=row.pk).aupdate(state=State.READY, deadline_at=None)
    await sync_to_async(events.routes_changed)()
    assert (await asked).headers["x-sardeenz-state"] in ("sleeping", "starting")


def prepare(engine: Engine, state: State = State.READY) -> tuple[Replica, str]:
    engine.behaviour = echo
    of = factories.deployment(name="m")
    row = factories.replica(state, deployment=of, port=engine.port, address="127.0.0.1")
    return row, keys.create("app", ["inference"])[1]
