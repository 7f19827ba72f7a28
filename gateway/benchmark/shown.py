"""A benchmark as the API and open pages are shown it."""

import time
from typing import Any, TypedDict

from django.utils import timezone

from gateway.benchmark import drift
from gateway.benchmark.drills.drill import Cycles, Drilled
from gateway.benchmark.load.searching import Answer, SearchProgress
from gateway.benchmark.measuring import Progress, Result
from gateway.benchmark.surroundings import Environment
from gateway.models import BenchmarkRun
from sardeenz import events


class AnyResult(Result, total=False):
    """What came of a benchmark: a search and a drill say more than a load."""

    search: Answer
    drill: Drilled


class AnyProgress(Progress, total=False):
    """How far a load, a search or a drill is, each in its own words."""

    search: SearchProgress
    drill: Cycles


class BenchmarkRow(TypedDict):
    """One benchmark without its result."""

    id: int
    name: str
    kind: str
    status: str
    code: str
    message: str
    deployments: list[str]
    gpus: list[str]
    metered: bool
    keeps_awake: bool
    actor: str
    created_at: str
    began_at: str | None
    ended_at: str | None
    cancel_wanted: bool
    progress: AnyProgress
    plan: dict[str, Any]
    options: dict[str, Any]


class BenchmarkDetail(BenchmarkRow):
    """One benchmark with all that came of it."""

    environment: Environment
    result: AnyResult | None
    drift: list[str]
    """What live traffic, engines and neighbours have left since; each in a sentence."""


def row(run: BenchmarkRun) -> BenchmarkRow:
    return {
        "id": run.pk,
        "name": run.name,
        "kind": run.kind,
        "status": run.status,
        "code": run.code,
        "message": run.message,
        "deployments": run.deployments,
        "gpus": run.gpus,
        "metered": run.metered,
        "keeps_awake": run.keeps_awake,
        "actor": run.actor,
        "created_at": run.created_at.isoformat(),
        "began_at": run.began_at.isoformat() if run.began_at else None,
        "ended_at": run.ended_at.isoformat() if run.ended_at else None,
        "cancel_wanted": run.cancel_wanted,
        "progress": run.progress,
        "plan": without_bulk(run.plan),
        "options": run.options,
    }


def detail(run: BenchmarkRun) -> BenchmarkDetail:
    drifted = drift.warnings(run, timezone.now())
    return {**row(run), "environment": run.environment, "result": run.result, "drift": drifted}


def without_bulk(plan: dict[str, Any]) -> dict[str, Any]:
    """A plan whose traces and prompts are only counted: they may be hundreds of thousands."""
    streams = []
    for stream in plan.get("streams", ()):
        arrival = {**stream["arrival"], "trace_calls": len(stream["arrival"].get("trace", ()))}
        arrival.pop("trace", None)
        kept = {key: value for key, value in stream.items() if key != "prompts"}
        streams.append({**kept, "arrival": arrival, "prompt_count": len(stream.get("prompts", ()))})
    return {**plan, "streams": streams}


def publish(run: BenchmarkRun) -> None:
    """Tell open pages how far it is."""
    payload = {"kind": "benchmark", "id": run.pk, "seq": int(time.time() * 1000), "row": row(run)}
    events.publish(events.LIFECYCLE, payload)
