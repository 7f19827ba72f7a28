"""What the dashboard costs a browser with 64 GPUs and 500 replicas, told of once a second: its longest frames.

`make bench` runs this. The rows and the pages are real, and so is the shape of what nodes tell; only the nodes are not.
"""

import itertools
import json
import random
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.core.serializers.json import DjangoJSONEncoder
from playwright.sync_api import CDPSession, Page, WebSocketRoute, expect
from pytest_django.live_server_helper import LiveServer

from gpus.telemetry import GPUFrame, HostFrame, ProcessFrame, SegmentFrame
from models_app import snapshot
from models_app.memory import ledger
from models_app.models import Replica
from models_app.node.frame import EngineFrame, NodeFrame
from models_app.states import State
from tests import factories
from tests.browser import chromium

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True), pytest.mark.timeout(600)]

NODES, GPUS_EACH, REPLICAS, DEPLOYMENTS = 8, 8, 500, 60
SECONDS = 20
GIB = factories.GIB
WATCH = """
() => {
  window.longest = [];
  let last = performance.now();
  const frame = (now) => { window.longest.push(now - last); last = now; requestAnimationFrame(frame); };
  requestAnimationFrame(frame);
  window.tasks = [];
  new PerformanceObserver((list) => list.getEntries().forEach((task) => window.tasks.push(task.duration)))
    .observe({ type: "longtask" });
}
"""
"""`longest` has the time between frames, `tasks` what took more than 50 ms at a stretch; both in milliseconds."""


@pytest.fixture
def fleet() -> tuple[dict[str, Any], list[Replica]]:
    """The rows of a large installation."""
    factories.user("olive", is_staff=True)
    homes = [factories.node(name=f"node-{number}") for number in range(NODES)]
    gpus = [factories.gpu(node=home) for home in homes for _ in range(GPUS_EACH)]
    small = {"weights_bytes": 4 * GIB, "kv_cap_bytes": 8 * GIB}
    deployments = [factories.deployment(name=f"model-{number}", **small) for number in range(DEPLOYMENTS)]
    for number in range(REPLICAS):
        state = State.SLEEPING if number % 5 == 0 else State.READY
        of, gpu = deployments[number % DEPLOYMENTS], gpus[number % len(gpus)]
        factories.replica(state, deployment=of, gpu=gpu, generation=1)
    return snapshot.take(), list(Replica.objects.select_related("gpu__node", "deployment"))  # type: ignore[return-value]


def frames(replicas: list[Replica]) -> Iterator[NodeFrame]:
    """What every node tells in a second, and then in the next: each figure moves."""
    dice = random.Random(7)
    for tick in itertools.count(1):
        seq = int(time.time() * 1000) + tick
        for number in range(NODES):
            yield _frame(
                f"node-{number}", [one for one in replicas if one.gpu.node.name == f"node-{number}"], seq, dice
            )


def _frame(node: str, here: list[Replica], seq: int, dice: random.Random) -> NodeFrame:
    segments = [_segment(one, dice) for one in here]
    gpus = [_gpu(node, index, here, dice) for index in range(GPUS_EACH)]
    owners = {
        f"{one.pk}:1": ledger.Owner(f"{one.pk}:1", str(one), one.ipc_name, one.state == State.SLEEPING, 4 * GIB, GIB)
        for one in here
    }
    return NodeFrame(
        seq=seq,
        at=datetime.fromtimestamp(seq / 1000, UTC).isoformat(timespec="milliseconds"),
        node=node,
        simulated=True,
        host=HostFrame(memory_total_bytes=1024 * GIB, memory_available_bytes=dice.randrange(600, 700) * GIB),
        gpus=gpus,
        segments=segments,
        engines=[_engine(one, seq, dice) for one in here],
        orphans=[],
        ledgers={gpu["uuid"]: ledger.ledger(gpu, segments, owners, {}, []) for gpu in gpus},
        host_ram=None,
    )


def _segment(one: Replica, dice: random.Random) -> SegmentFrame:
    used = 0 if one.state == State.SLEEPING else dice.randrange(64, 2048) * 1024**2
    return SegmentFrame(ipc_name=one.ipc_name, limit_bytes=8 * GIB, used_bytes=used, prealloc_bytes=128 * 1024**2)


def _gpu(node: str, index: int, here: list[Replica], dice: random.Random) -> GPUFrame:
    on = [one for one in here if one.gpu.index == index]
    sizes = [(one, GIB if one.state == State.SLEEPING else dice.randrange(5, 8) * GIB) for one in on]
    return GPUFrame(
        uuid=f"GPU-sim-{node}-{index}",
        index=index,
        name="Simulated 80 GiB",
        parent_uuid="",
        memory_total_bytes=80 * GIB,
        memory_used_bytes=sum(size for _, size in sizes),
        utilization_ratio=dice.random(),
        temperature_celsius=dice.randrange(30, 80),
        power_watts=dice.randrange(100, 600),
        power_limit_watts=700,
        processes=[ProcessFrame(pid=one.pk, memory_bytes=size, marker=f"{one.pk}:1") for one, size in sizes],
    )


def _engine(one: Replica, seq: int, dice: random.Random) -> EngineFrame:
    return EngineFrame(
        marker=f"{one.pk}:1",
        replica_id=one.pk,
        generation=1,
        pid=one.pk,
        memory_bytes={one.gpu.uuid: 5 * GIB},
        tokens_per_second=float(dice.randrange(2000)),
        kv_limit_bytes=dice.randrange(2, 8) * GIB,
        kv_limit_why="share",
        running=dice.randrange(40),
        waiting=dice.randrange(10),
        kv_usage_ratio=dice.random(),
        prompt_tokens=seq,
        generation_tokens=seq,
        sleeping=one.state == State.SLEEPING,
    )


def open_fleet(page: Page, rows: dict[str, Any], view: str) -> list[WebSocketRoute]:
    """Sign in with both sockets in our hands; the fleet is drawn when this returns."""
    sockets: list[WebSocketRoute] = []

    page.route_web_socket("**/ws/lifecycle", lambda route: route.send(json.dumps(rows, cls=DjangoJSONEncoder)))
    page.route_web_socket("**/ws/telemetry", lambda route: sockets.append(route))  # noqa: PLW0108 it takes functions alone
    page.goto(f"/?view={view}")
    page.get_by_label("User name").fill("olive")
    page.get_by_label("Password").fill("pw")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text(re.compile(r"^GPU \d+$"))).to_have_count(NODES * GPUS_EACH, timeout=60_000)
    return sockets


def _costs(session: CDPSession) -> dict[str, float]:
    """CPU seconds of the page's main thread until now, by what for."""
    return {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}


@pytest.mark.parametrize("view", ["cards", "dense"])
def test_page(live_server: LiveServer, fleet: Any, view: str, capsys: pytest.CaptureFixture[str]) -> None:
    rows, replicas = fleet
    told = frames(replicas)
    with chromium(live_server.url) as page:
        [socket] = open_fleet(page, rows, view)
        first = [next(told) for _ in range(NODES)]
        socket.send(json.dumps({"type": "snapshot", "frames": first}))
        page.wait_for_timeout(3000)
        costs = page.context.new_cdp_session(page)
        costs.send("Performance.enable", {"timeDomain": "threadTicks"})
        page.evaluate(WATCH)
        before = _costs(costs)
        for _ in range(SECONDS):
            for frame in itertools.islice(told, NODES):
                socket.send(json.dumps({"type": "frame", "frame": frame}))
            page.wait_for_timeout(1000)
        spent = {name: value - before[name] for name, value in _costs(costs).items()}
        gaps, tasks = page.evaluate("[window.longest, window.tasks]")
    with capsys.disabled():
        print(f"\n{NODES * GPUS_EACH} GPUs as {view}, {REPLICAS} replicas, {SECONDS} s of {NODES} frames each")
        ordered = sorted(gaps)
        for name, value in (
            ("half of the frames within", ordered[len(ordered) // 2]),
            ("99 of 100 within", ordered[int(len(ordered) * 0.99)]),
            ("the longest", ordered[-1]),
            ("the longest task", max(tasks, default=0.0)),
        ):
            print(f"{name:>28} {value:8.1f} ms")
        print(f"{'tasks over 50 ms':>28} {len(tasks):8}")
        for name in ("Script", "RecalcStyle", "Layout", "Task"):
            print(f"{f'{name}, CPU of a second':>28} {1000 * spent[f'{name}Duration'] / SECONDS:8.1f} ms")
