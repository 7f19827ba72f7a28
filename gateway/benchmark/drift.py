"""Whether what was measured still says something of a deployment: its live calls, engine and neighbours, beside it."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Avg, Count, Max, QuerySet
from django.db.models.functions import TruncMinute

from gateway.benchmark import surroundings
from gateway.models import BenchmarkRun, UsageRecord
from models_app.models import Deployment

SPAN = timedelta(hours=1)
FEW = 20
"""Of fewer calls in that time nothing is said."""
APART = 1.5
"""Lengths that differ by this factor are others."""
PROMISED = 0.05
"""So large a part of the calls may be later than the SLO before it is said."""
_FLAGS = {
    "model_source": "the model",
    "revision": "the revision",
    "version": "the engine's version",
    "kvcached": "kvcached",
    "extra_args": "the engine's flags",
    "max_model_len": "the longest context",
    "tensor_parallel": "the number of GPUs",
}


def warnings(run: BenchmarkRun, now: datetime) -> list[str]:
    """What has left that which was measured, each in a sentence; nothing for a run without figures of a load."""
    result = run.result or {}
    streams = [each for each in result.get("streams", ()) if each["role"] == "load" and each["figures"]["ok"]]
    if run.status != BenchmarkRun.Status.DONE or run.kind == BenchmarkRun.Kind.DRILL or not streams:
        return []
    said: list[str] = []
    for stream, plan in zip(streams, run.plan["streams"], strict=False):
        deployment = Deployment.objects.filter(name=stream["deployment"], deleting=False).first()
        if deployment is None:
            said.append(f"{stream['deployment']} is gone")
            continue
        said += _traffic(deployment, stream["figures"], plan, run, now)
    return said + list(_places(run))


def _traffic(
    deployment: Deployment, figures: dict[str, Any], plan: dict[str, Any], run: BenchmarkRun, now: datetime
) -> Iterator[str]:
    calls = UsageRecord.objects.filter(served_name=deployment.served_name, at__gte=now - SPAN)
    good = calls.filter(outcome="ok")
    told = good.aggregate(prompt=Avg("prompt_tokens"), output=Avg("completion_tokens"), number=Count("pk"))
    if told["number"] < FEW:
        return
    name = deployment.name
    for live, measured, what in (
        (told["prompt"], figures["prompt_tokens"] / figures["ok"], "prompts"),
        (told["output"], figures["completion_tokens"] / figures["ok"], "answers"),
    ):
        if live and measured and max(live / measured, measured / live) > APART:
            yield (f"{what} of {name} had {live:.0f} tokens on average in the last hour; {measured:.0f} were measured")
    if (rate := _busiest(calls)) > (most := _measured_rate(run, figures)) > 0:
        yield f"{name} had {rate:.1f} calls a second in the busiest minute of the last hour; {most:.1f} were measured"
    if (limit := plan["slo"]["ttft_seconds"]) is not None:
        late = good.filter(ttft_seconds__gt=limit).count() / told["number"]
        if late > PROMISED:
            yield f"{late:.0%} of the calls of {name} had their first token later than {limit:g} s in the last hour"


def _busiest(calls: QuerySet[UsageRecord]) -> float:
    """Calls a second in the busiest minute."""
    by_minute = calls.annotate(minute=TruncMinute("at")).values("minute").annotate(number=Count("pk"))
    return (by_minute.aggregate(most=Max("number"))["most"] or 0) / 60


def _measured_rate(run: BenchmarkRun, figures: dict[str, Any]) -> float:
    """What was measured: of a search the load it found, or what was answered at it."""
    search = (run.result or {}).get("search")
    if search and search["over"] == "rate":
        return float(search["value"] or 0.0)
    return float(figures["requests_per_second"] or 0.0)


def _places(run: BenchmarkRun) -> Iterator[str]:
    """Engines, GPUs and neighbours that are others now."""
    now = surroundings.environment(run.deployments, run.gpus)
    before = {one["deployment"]: one for one in run.environment.get("replicas", ())}
    for one in now["replicas"]:
        known = before.pop(one["deployment"], None)
        if known is None:
            continue
        for flag, words in _FLAGS.items():
            if known.get(flag) != one.get(flag):
                yield f"{words} of {one['deployment']} was {known.get(flag)} and is {one.get(flag)} now"
        if not set(one["gpus"]) & set(run.gpus):
            yield f"{one['deployment']} is on another GPU now"
    old = {one["deployment"] for one in run.environment.get("neighbours", ())}
    new = {one["deployment"] for one in now["neighbours"] if one["state"] == "ready"}
    for name in sorted(new - old):
        yield f"{name} serves on the same GPU now and did not when this was measured"
