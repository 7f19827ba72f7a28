"""Benchmarks are asked for, cancelled and found dead here; how one runs: `runner`."""

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import msgspec
from django.db import connection, transaction
from django.db.models import Q
from kombu.exceptions import OperationalError
from redis import RedisError

from gateway.access import keys
from gateway.benchmark import shown
from gateway.benchmark.drills import caps
from gateway.benchmark.load.plan import Plan
from gateway.errors import BenchmarkEnded, BenchmarkRunning, NoRunner
from gateway.models import ApiKey, BenchmarkRun
from gpus import processes
from models_app.models import Deployment, Replica
from sardeenz.celery import BENCHMARKS_QUEUE, app
from sardeenz.errors import InvalidSpec

RUN = "gateway.run_benchmark"
SILENT = timedelta(seconds=20)
"""A runner that has not been heard for so long is gone."""
UNBEGUN = timedelta(seconds=60)
"""A busy worker may take a while to begin one; after that nobody will."""
_LOCK = 0x62656E6368
_OPEN = (BenchmarkRun.Status.QUEUED, BenchmarkRun.Status.RUNNING)

logger = logging.getLogger(__name__)


def make(plan: Plan, *, actor: str, beside: bool = False, **fields: Any) -> BenchmarkRun:
    """Keep what is asked and have it begun. Raises InvalidSpec, BenchmarkRunning or NoRunner.

    Two on the same GPU would measure each other, so the second is refused unless it is to run `beside`.
    """
    names = asked(plan)
    _check(plan, names)
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        gpus = gpus_of(names)
        if not beside:
            _refuse_company(names, gpus)
        run = BenchmarkRun.objects.create(
            plan=msgspec.to_builtins(plan), deployments=names, gpus=gpus, actor=actor, **fields
        )
    shown.publish(run)
    _send(run)
    return run


def cancel(run: BenchmarkRun) -> BenchmarkRun:
    """Ask the runner to end. Raises BenchmarkEnded."""
    if not BenchmarkRun.objects.filter(pk=run.pk, status__in=_OPEN).update(cancel_wanted=True):
        raise BenchmarkEnded(f"benchmark {run.pk} has ended already")
    BenchmarkRun.objects.filter(pk=run.pk, status=BenchmarkRun.Status.QUEUED).update(
        status=BenchmarkRun.Status.CANCELLED, message="cancelled before it began"
    )
    run.refresh_from_db()
    shown.publish(run)
    return run


def end(number: int, status: str, now: datetime, *, code: str = "", message: str = "", **fields: Any) -> bool:
    """Write how a run ended, once; whoever comes later changes nothing."""
    told = {"status": status, "code": code, "message": message, "ended_at": now, **fields}
    if not BenchmarkRun.objects.filter(pk=number, status__in=_OPEN).update(**told):
        return False
    forget_key(number)
    run = BenchmarkRun.objects.get(pk=number)
    caps.give_back(run)
    shown.publish(run)
    return True


def bury(now: datetime) -> None:
    """Whose runner is gone without a word has failed; and so has one that nobody began."""
    for run in BenchmarkRun.objects.filter(status=BenchmarkRun.Status.RUNNING):
        silent = run.heard_at is None or now - run.heard_at > SILENT
        if silent or processes.is_gone(run.runner):
            lost(run.pk, now)
    for run in BenchmarkRun.objects.filter(status=BenchmarkRun.Status.QUEUED, created_at__lt=now - UNBEGUN):
        end(run.pk, "failed", now, code="runner_missing", message="no worker reads the queue `benchmarks`")


def lost(number: int, now: datetime) -> None:
    """The runner's process ended and did not say how the run did."""
    end(number, "failed", now, code="runner_lost", message="the runner was killed; its calls ended with it")


def make_key(run: BenchmarkRun, seconds: float, now: datetime) -> str:
    """A key for the calls of one run, known to nobody else; it ends by itself if nobody ends it."""
    until = now + timedelta(seconds=seconds)
    marks = {"metered": run.metered, "keeps_awake": run.keeps_awake}
    _, plain = keys.create(_key_name(run.pk), ["inference"], expires_at=until, **marks)
    return plain


def forget_key(number: int) -> None:
    """The run is over. What was kept as usage goes on naming its key."""
    own = ApiKey.objects.filter(name=_key_name(number), owner=None)
    for key in own.filter(metered=True):
        keys.revoke(key)
    own.filter(metered=False).delete()


def _key_name(number: int) -> str:
    return f"benchmark {number}"


def asked(plan: Plan) -> list[str]:
    """The names of all deployments that are asked, neighbours included."""
    names = [stream.deployment for stream in plan.streams] + [probe.deployment for probe in plan.probes]
    return list(dict.fromkeys(names))


def gpus_of(names: Iterable[str]) -> list[str]:
    """The GPUs that these deployments are placed on."""
    rows = Replica.objects.filter(deployment__name__in=list(names)).select_related("gpu")
    return sorted({uuid for row in rows for uuid in (row.gpu_uuids or [row.gpu.uuid])})


def _check(plan: Plan, names: list[str]) -> None:
    known = {row.name: row for row in Deployment.objects.filter(deleting=False)}
    if missing := [name for name in names if name not in known]:
        there = ", ".join(sorted(known)) or "none at all"
        raise InvalidSpec(f"there is no deployment {', '.join(map(repr, missing))}; there is {there}", field="streams")
    for stream in plan.streams:
        longest = known[stream.deployment].max_model_len
        needed = (stream.prompt.high or stream.prompt.tokens) + (stream.output.high or stream.output.tokens)
        if stream.arrival.trace:
            needed = max(each.prompt_tokens + each.output_tokens for each in stream.arrival.trace)
        if longest is not None and stream.kind != "embeddings" and not stream.prompts and needed > longest:
            raise InvalidSpec(
                f"{stream.deployment} takes {longest} tokens in all, and the longest call asks for {needed}",
                field="streams",
            )


def _refuse_company(names: list[str], gpus: list[str]) -> None:
    others = BenchmarkRun.objects.filter(Q(gpus__overlap=gpus) | Q(deployments__overlap=names), status__in=_OPEN)
    if found := sorted(others.values_list("pk", flat=True)):
        which = ", ".join(map(str, found))
        raise BenchmarkRunning(
            f"benchmark {which} measures on the same GPU; wait for its end, cancel it, or ask to run beside it",
            benchmarks=found,
        )


def _send(run: BenchmarkRun) -> None:
    try:
        app.send_task(RUN, args=[run.pk], queue=BENCHMARKS_QUEUE, expires=UNBEGUN.total_seconds())
    except (RedisError, OperationalError, OSError) as error:
        run.delete()
        raise NoRunner("benchmarks cannot begin: Redis does not answer") from error
