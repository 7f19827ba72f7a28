"""What would happen, answered by doing it in a transaction that is rolled back.

The verb is the real one, with its rules and its locks, so no second opinion can differ from it. Nothing is published
and no worker is poked, because both happen on commit alone. What the workers would do afterwards is followed by
`forecast` once the locks are gone.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

from django.conf import settings
from django.db import OperationalError, connection, transaction
from psycopg.errors import DeadlockDetected, LockNotAvailable

from gpus import telemetry
from gpus.errors import TelemetryUnavailable
from models_app.errors import FleetBusy
from models_app.policy.cordon import STAYS
from models_app.policy.plans import costs, fleet, outcome, words
from models_app.policy.plans.costs import Learnt
from models_app.policy.plans.fleet import Fleet
from models_app.policy.plans.outcome import Outcome, Used
from models_app.traffic import rates
from sardeenz.errors import SardeenzError

LOCK_SECONDS = 2.0
"""So long an answer waits for a row that somebody else changes."""

Action = Callable[[], object]


class _Undone(Exception):
    """Rolls back what was done only to see what would follow."""


@dataclass(frozen=True, slots=True)
class Known:
    """What an outcome follows from besides rows."""

    learnt: Learnt
    used: Used
    rates: dict[str, float]


@dataclass(frozen=True, slots=True)
class Seen:
    """The fleet before an action and right after it, and why the action was refused if it was."""

    before: Fleet
    after: Fleet
    error: SardeenzError | None = None


def answer(action: Action) -> Outcome:
    """What would happen if `action` were done now. Raises FleetBusy where rows are locked for long."""
    known = gather()
    return conclude(imagine(action), known)


def imagine(action: Action) -> Seen:
    """The fleet before and after the action, which leaves no trace."""
    seen: list[Seen] = []
    try:
        with transaction.atomic():
            seen.append(watch(action))
            raise _Undone
    except _Undone:
        return seen[0]


def watch(action: Action) -> Seen:
    """Do the action in the caller's transaction, and look before and after it. A refusal is told, not raised."""
    before = fleet.read()
    try:
        with transaction.atomic(), bounded():
            action()
    except FleetBusy:
        raise
    except SardeenzError as error:
        return Seen(before, before, error)
    return Seen(before, fleet.read(before))


@contextmanager
def bounded() -> Iterator[None]:
    """Locks are waited for as long as LOCK_SECONDS. Raises FleetBusy, also where two waited for each other."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{int(LOCK_SECONDS * 1000)}ms"])
        yield
    except OperationalError as error:
        if not isinstance(error.__cause__, LockNotAvailable | DeadlockDetected):  # several actions lock in their order
            raise
        raise FleetBusy("somebody changes these replicas right now; ask again", retry_after_seconds=1.0) from error


def gather() -> Known:
    """Read before any lock is taken: Redis and the history may take their time."""
    return Known(costs.learnt(), _used(), rates.calls_per_second())


def conclude(seen: Seen, known: Known) -> Outcome:
    """The outcome of what was seen."""
    foreign = known.used["foreign"]
    before = fleet.forecast(seen.before, known.learnt, foreign)
    after = fleet.forecast(seen.after, known.learnt, foreign) if seen.error is None else before
    resident = settings.MIN_RESIDENT_SECONDS
    found: Outcome = {
        "refused": outcome.refusal(seen.error) if seen.error is not None else None,
        "two_phase": outcome.two_phase(seen.before, seen.after),
        "steps": outcome.steps(seen.before, before, after),
        "gpus": outcome.gpus(seen.before, after, known.used),
        "nodes": outcome.nodes(seen.before, after),
        "deployments": outcome.deployments(seen.before, seen.after, before, after),
        "expected_awake": {
            "before": outcome.expected_awake(seen.before, before, known.rates, resident),
            "after": outcome.expected_awake(seen.after, after, known.rates, resident),
        },
        "settings": [],
        "lines": [],
    }
    return found | {"lines": [*words.lines(found), *_waits(seen), *_doors(seen)]}


def _waits(seen: Seen) -> Iterator[str]:
    """Why replicas of a deployment would be missing, or stay where they are to go, with the arithmetic."""
    for number, row in seen.after.deployments.items():
        before = seen.before.deployments.get(number)
        if row.message and (before is None or before.message != row.message):
            yield f"{row.name}: {row.message.removesuffix('.')}."
    for pk, replica in seen.after.replicas.items():
        if replica.reason == STAYS and seen.before.replicas[pk].seq != replica.seq:
            name = seen.after.deployments[replica.deployment_id].name
            yield f"{name}/{pk} stays: {replica.message.removesuffix('.')}."


def _doors(seen: Seen) -> Iterator[str]:
    """Which GPUs would take nothing new, or take it again."""
    for before, gpu in zip(seen.before.gpus, seen.after.gpus, strict=False):
        if before.enabled != gpu.enabled:
            yield f"GPU {gpu.index} of {gpu.node.name} takes {'new replicas again' if gpu.enabled else 'nothing new'}."


def _used() -> Used:
    """What the newest frames say; nothing of a node that is silent."""
    try:
        frames = telemetry.latest()
    except TelemetryUnavailable:
        frames = []
    used: Used = {"devices": {}, "engines": {}, "foreign": {}}
    for gpu in (gpu for frame in frames for gpu in frame["gpus"]):
        uuid = gpu["uuid"]
        used["devices"][uuid] = gpu["memory_used_bytes"]
        for process in gpu["processes"]:
            size, marker = process["memory_bytes"] or 0, process["marker"]
            if marker is None:
                used["foreign"][uuid] = used["foreign"].get(uuid, 0) + size
            else:
                held = used["engines"].setdefault(marker, cast("dict[str, int]", {}))
                held[uuid] = held.get(uuid, 0) + size
    return used
