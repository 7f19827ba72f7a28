"""The process of one benchmark: claims its row, makes the load, says each second how far it is, writes what came of it.

Killed, it takes its connections with it, and with them its calls; who finds its row still running calls it lost.
"""

import asyncio
import logging
import signal
from collections.abc import Callable
from typing import Any

import msgspec
from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import Error as DatabaseError
from django.utils import timezone

from gateway.benchmark import book, shown, surroundings
from gateway.benchmark.drills import kinds
from gateway.benchmark.drills.drill import STUCK_SECONDS, Drill, Work
from gateway.benchmark.load.driver import LONGEST_SECONDS
from gateway.benchmark.load.figures import Ledger
from gateway.benchmark.load.plan import Plan
from gateway.benchmark.load.searching import Bounds
from gateway.benchmark.measuring import Measuring, Progress, Target
from gateway.benchmark.search_run import Searching
from gateway.models import BenchmarkRun, EngineAccount
from gpus import processes
from gpus.installation import engine_key
from models_app.models import Deployment, Replica
from models_app.states import State
from sardeenz.errors import SardeenzError

TELL_SECONDS = 1.0
KEY_SECONDS = 1.2
"""By then every gateway process has read the table of keys again."""

logger = logging.getLogger(__name__)


class Ended(Exception):
    """The run is over before its time."""

    def __init__(self, status: str, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


def claim(number: int) -> BenchmarkRun | None:
    """The run, which is ours from now on; None where it is somebody's already, or cancelled."""
    now = timezone.now()
    mine = {"status": "running", "began_at": now, "heard_at": now, "node": settings.NODE}
    queued = BenchmarkRun.objects.filter(pk=number, status="queued")
    if not queued.update(runner=processes.identity(), **mine):
        return None
    run = BenchmarkRun.objects.get(pk=number)
    run.environment = surroundings.environment(run.deployments, run.gpus)
    run.save(update_fields=["environment"])
    shown.publish(run)
    return run


async def perform(number: int) -> None:
    """Run this benchmark, if nobody else does."""
    run = await sync_to_async(claim)(number)
    if run is not None:
        await Runner(run).run()


class Runner:
    """A run under way: it drives the load, writes progress and the result, and ends with it."""

    def __init__(self, run: BenchmarkRun) -> None:
        self._run = run
        self._plan = msgspec.convert(run.plan, Plan)
        self._work_of: Measuring | Searching | Work | None = None
        self._stopped = asyncio.Event()

    async def run(self) -> None:
        """Whatever happens, the row says how it ended."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopped.set)
        try:
            await self._work()
            status, code, message = "done", "", ""
            if (nothing := self._nothing_answered()) is not None:
                status, code, message = "failed", "nothing_answered", nothing
        except Ended as end:
            status, code, message = end.status, end.code, end.message
        except SardeenzError as error:
            status, code, message = "failed", error.code, error.message
        await self._write(status, code, message)

    async def _work(self) -> None:
        """Make the load while somebody looks whether it is still wanted. Raises Ended."""
        run, plan = self._run, self._plan
        targets = await sync_to_async(_targets)(plan, run.deployments)
        key = await sync_to_async(book.make_key)(run, _limit_seconds(plan, run.options), timezone.now())
        await asyncio.sleep(KEY_SECONDS)

        def measure(each: Plan, ledger_of: Callable[[int], Ledger] | None = None) -> Measuring:
            return Measuring(each, settings.BENCHMARK_URL, key, targets, set(run.gpus), ledger_of)

        if run.kind == BenchmarkRun.Kind.SEARCH:
            self._work_of = Searching(plan, msgspec.convert(run.options, Bounds), measure)
        elif run.kind == BenchmarkRun.Kind.DRILL:
            self._work_of = kinds.begin(run.pk, plan, msgspec.convert(run.options, Drill), measure)
        else:
            self._work_of = measure(plan)
        working = asyncio.create_task(self._work_of.run())
        watching = asyncio.create_task(self._watch(self._work_of.progress))
        try:
            await asyncio.wait([working, watching], return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                watching.result()
            await working
        finally:
            for task in (working, watching):
                task.cancel()
            await asyncio.gather(working, watching, return_exceptions=True)
            await sync_to_async(_doubt_accounts)(plan)

    async def _watch(self, progress: Callable[[], Progress]) -> None:
        """Say each second how far it is. Raises Ended once it is not wanted any more."""
        while True:
            try:
                await sync_to_async(self._tell)(progress())
            except DatabaseError as error:
                logger.warning("progress not told: benchmark=%s error=%s", self._run.pk, error)
            try:
                await asyncio.wait_for(self._stopped.wait(), TELL_SECONDS)
            except TimeoutError:
                continue
            raise Ended("failed", "runner_stopped", "the runner was told to stop before the benchmark was done")

    def _tell(self, progress: Progress) -> None:
        """Write the progress. Raises Ended where the row or a deployment says that nobody waits for the rest."""
        mine = BenchmarkRun.objects.filter(pk=self._run.pk, status="running")
        if not mine.update(progress=progress, heard_at=timezone.now()):
            raise Ended("failed", "runner_lost", "somebody else wrote the end of this benchmark")
        row = mine.get()
        shown.publish(row)
        if row.cancel_wanted:
            raise Ended("cancelled", "", "cancelled while it ran")
        there = set(Deployment.objects.filter(deleting=False).values_list("name", flat=True))
        if gone := [name for name in row.deployments if name not in there]:
            names = ", ".join(gone)
            raise Ended("failed", "deployment_gone", f"{names} was deleted while it was measured")

    def _nothing_answered(self) -> str | None:
        """Why, where not a single call of the load came to a good end."""
        result = self._work_of.result() if self._work_of is not None else None
        if result is None:
            return "no load was tried"
        loads = [each for each in result["streams"] if each["role"] == "load"]
        if any(each["figures"]["ok"] for each in loads):
            return None
        for each in loads:
            for code, count in each["figures"]["failed"].items():
                words = each["figures"]["messages"].get(code, "")
                return f"no call was answered; {count} of {each['deployment']} ended as {code}" + (
                    f": {words}" if words else ""
                )
        return "no call was made within the time that is measured"

    async def _write(self, status: str, code: str, message: str) -> None:
        work = self._work_of
        told = {"result": work.result() if work else None, "progress": work.progress() if work else {}}
        await sync_to_async(book.end)(self._run.pk, status, timezone.now(), code=code, message=message, **told)


def _targets(plan: Plan, names: list[str]) -> dict[str, Target]:
    """Where each deployment is reached. Raises Ended for one that is gone, or has no engine to go straight to."""
    rows = {row.name: row for row in Deployment.objects.filter(name__in=names, deleting=False)}
    straight = {stream.deployment for stream in plan.streams if stream.way == "engine"}
    found = {}
    for name in names:
        if name not in rows:
            raise Ended("failed", "deployment_gone", f"{name} was deleted before the benchmark began")
        ready = Replica.objects.filter(deployment=rows[name], state=State.READY).first()
        if ready is None and name in straight:
            raise Ended(
                "failed", "not_ready", f"{name} has no ready replica, and calls straight to an engine wake none"
            )
        url, key = (ready.url, engine_key(ready.pk, ready.generation)) if ready is not None else ("", "")
        found[name] = Target(rows[name].served_name, url, key)
    return found


def _limit_seconds(plan: Plan, options: dict[str, Any]) -> float:
    """So long a run may take at most, and an hour more for the clock."""
    rounds = 1 if plan.together else len(plan.streams)
    each = LONGEST_SECONDS if plan.seconds is None else plan.seconds
    each += float(options.get("most_seconds", 0.0)) + STUCK_SECONDS * int(options.get("cycles", 0))
    return (each + plan.warmup_seconds + plan.drain_seconds) * rounds + 3600


def _doubt_accounts(plan: Plan) -> None:
    """Engines counted tokens that no gateway knows of: their next difference is nobody's."""
    straight = [stream.deployment for stream in plan.streams if stream.way == "engine"]
    for row in Replica.objects.filter(deployment__name__in=straight):
        EngineAccount.objects.filter(replica_id=row.pk, generation=row.generation).update(doubtful=True)
