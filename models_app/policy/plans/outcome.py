"""What a what-if answers: who does what and when, memory before and after, and how long anybody is not served.

An outcome is the difference of two forecasts: of the fleet as it is, and of the fleet as the action would leave it.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any, TypedDict

from models_app.memory import host_rows
from models_app.models import Replica
from models_app.policy.plans.fleet import Fleet
from models_app.policy.plans.forecast import GONE, WAITS, Course, Entry
from models_app.policy.plans.imagined import Imagined
from models_app.states import State
from sardeenz.errors import SardeenzError

_DOES = {State.STARTING: "loads", State.WAKING: "wakes", State.STOPPING: "stops", WAITS: "waits"}
_BEGINS = (*_DOES, State.DRAINING)


class Refusal(TypedDict):
    """The error that the verb itself would answer with."""

    code: str
    message: str
    fields: dict[str, Any]


class PlanStep(TypedDict):
    """One thing that a replica does; `replica` is None for one that does not exist yet. Seconds count from the moment
    of applying, None where a time on the way was never measured. `gone`: its row goes with it.
    """

    deployment: str
    replica: int | None
    does: str
    gpus: list[str]
    level: int | None
    begins_seconds: float | None
    ends_seconds: float | None
    why: str
    gone: bool


class PlanGPU(TypedDict):
    """A GPU's memory in bytes: reserved for replicas, and in use as far as the device tells, else None."""

    uuid: str
    name: str
    memory_bytes: int
    reserved_before_bytes: int
    reserved_after_bytes: int
    used_before_bytes: int | None
    used_after_bytes: int | None


class PlanNode(TypedDict):
    """Host RAM that models asleep at level 1 hold, in bytes, and what they may hold."""

    node: str
    sleepers_before_bytes: int
    sleepers_after_bytes: int
    budget_bytes: int


class PlanDeployment(TypedDict):
    """`disruption_seconds`: how long none of its replicas serves until one does for good; None where that is unknown
    or none will. `next_call_seconds`: how long the next call waits where it ends asleep; None where that is unknown.
    """

    name: str
    now: str
    then: str
    disruption_seconds: float | None
    next_call_seconds: float | None


class ExpectedAwake(TypedDict):
    """How many models will be awake on average, by their recent traffic and how long each stays awake after a call."""

    before: float
    after: float


class Outcome(TypedDict):
    """What would happen. `settings` are those that windows would change then; `lines` say all in words, for people."""

    refused: Refusal | None
    two_phase: bool
    steps: list[PlanStep]
    gpus: list[PlanGPU]
    nodes: list[PlanNode]
    deployments: list[PlanDeployment]
    expected_awake: ExpectedAwake
    settings: list[str]
    lines: list[str]


class Used(TypedDict):
    """What devices tell: bytes in use by GPU uuid, and of each engine by marker and uuid."""

    devices: dict[str, int]
    engines: dict[str, dict[str, int]]
    foreign: dict[str, int]


def refusal(error: SardeenzError) -> Refusal:
    return {"code": error.code, "message": error.message, "fields": error.fields}


def steps(now: Fleet, before: Course, after: Course) -> list[PlanStep]:
    """What happens after the action and not without it, in the order of time."""
    found: list[tuple[int, PlanStep]] = []
    for number, one in after.imagined.items():
        entries = after.of(number)
        if [entry.what for entry in entries] != [entry.what for entry in before.of(number)]:
            found += _steps(now, one, entries)
    return [step for _, step in sorted(found, key=lambda each: each[0])]


def _steps(now: Fleet, one: Imagined, entries: list[Entry]) -> Iterable[tuple[int, PlanStep]]:
    names = {gpu.uuid: f"GPU {gpu.index} of {gpu.node.name}" for gpu in now.gpus}
    gone = any(entry.what == GONE for entry in entries)
    begun = [(at, entry) for at, entry in enumerate(entries) if entry.what in _BEGINS]
    for at, entry in begun:
        later = entries[at + 1] if at + 1 < len(entries) else None
        if entry.what == State.DRAINING and later is not None and later.what == State.STOPPING:
            continue  # the stop is told
        does = _DOES.get(entry.what, "sleeps")
        yield (
            entry.order,
            {
                "deployment": one.name,
                "replica": one.id if one.id in now.replicas else None,
                "does": does,
                "gpus": [names.get(uuid, uuid) for uuid in one.uuids],
                "level": one.level if does == "sleeps" else None,
                "begins_seconds": round(entry.at, 3) if entry.sure else None,
                "ends_seconds": round(later.at, 3) if later is not None and later.sure else None,
                "why": one.message,
                "gone": gone and at == begun[-1][0],
            },
        )


def gpus(fleet: Fleet, after: Course, used: Used) -> list[PlanGPU]:
    """Every GPU's memory now and at the end."""
    rows = fleet.replicas.values()
    held_now = _sum(_held(row) for row in rows)
    held_then = _sum(one.held for number, one in after.imagined.items() if number not in after.gone)
    more = _sum(_change(fleet.replicas.get(number), one, after, used) for number, one in after.imagined.items())
    return [
        {
            "uuid": gpu.uuid,
            "name": f"GPU {gpu.index} of {gpu.node.name}",
            "memory_bytes": gpu.memory_bytes,
            "reserved_before_bytes": held_now.get(gpu.uuid, 0),
            "reserved_after_bytes": held_then.get(gpu.uuid, 0),
            "used_before_bytes": used["devices"].get(gpu.uuid),
            "used_after_bytes": _after(used["devices"].get(gpu.uuid), more.get(gpu.uuid, 0)),
        }
        for gpu in fleet.gpus
    ]


def _after(before: int | None, more: int) -> int | None:
    return None if before is None else max(before + more, 0)


def _sum(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    together: dict[str, int] = {}
    for part in parts:
        for uuid, size in part.items():
            together[uuid] = together.get(uuid, 0) + size
    return together


def _held(row: Replica) -> dict[str, int]:
    return {each.gpu.uuid: each.held_bytes for each in row.reservations.all()}


def _change(row: Replica | None, one: Imagined, after: Course, used: Used) -> dict[str, int]:
    """How much more of each device its engine will hold; nothing where it ends as it is now."""
    if row is not None and row.state == one.state and row.state == row.goal and not after.of(one.id):
        return {}
    now = used["engines"].get(row.marker, {}) if row is not None else {}
    then = {} if one.id in after.gone else _expected(one)
    return {uuid: then.get(uuid, 0) - now.get(uuid, 0) for uuid in now.keys() | then.keys()}


def _expected(one: Imagined) -> dict[str, int]:
    """What its engine will hold at the end: as it was measured, else what is reserved for it."""
    if one.state == State.SLEEPING:
        return one.asleep
    if not any(one.held.values()):  # it has no engine, though it may have been measured
        return {}
    return one.uses or one.held


def nodes(fleet: Fleet, after: Course) -> list[PlanNode]:
    """Host RAM of sleepers on every node now and at the end."""
    found: dict[str, PlanNode] = {}
    for gpu in fleet.gpus:
        found.setdefault(
            gpu.node.name,
            {
                "node": gpu.node.name,
                "sleepers_before_bytes": 0,
                "sleepers_after_bytes": 0,
                "budget_bytes": gpu.node.sleep_budget_bytes,
            },
        )
    ledgers = {name: host_rows.ledger(name) for name in found}
    homes = {gpu.uuid: gpu.node.name for gpu in fleet.gpus}
    for number, one in after.imagined.items():
        home = homes.get(one.uuids[0], "") if one.uuids else ""
        if home not in found:
            continue
        row = fleet.replicas.get(number)
        asleep = row is not None and row.state == State.SLEEPING and row.sleep_level == 1
        kept = host_rows.kept_bytes(row, ledgers[home]) if row is not None and asleep else 0
        found[home]["sleepers_before_bytes"] += kept
        if one.state == State.SLEEPING and one.level == 1 and number not in after.gone:
            copy = one.weights_bytes * max(len(one.uuids), 1)
            expected = host_rows.copy_of(row).lasting_bytes if row is not None else copy
            found[home]["sleepers_after_bytes"] += kept or expected
    return list(found.values())


def deployments(now: Fleet, then: Fleet, before: Course, after: Course) -> list[PlanDeployment]:
    """Everybody who ends otherwise than without the action, or does something on the way."""
    concerned = {step["deployment"] for step in steps(now, before, after)}
    found: list[PlanDeployment] = []
    known = {row.pk: row.name for row in (*now.deployments.values(), *then.deployments.values())}
    for number, name in sorted(known.items(), key=lambda each: each[1]):
        rows = [row for row in now.replicas.values() if row.deployment_id == number]
        today = _best(State(row.state) for row in rows) if number in now.deployments else "new"
        ends = [one for one in after.imagined.values() if one.deployment == number and one.id not in after.gone]
        end = _best(one.state for one in ends) if _stays(then, number) else GONE
        if name not in concerned and end == _best(_at_the_end(before, number)):
            continue
        found.append(
            {
                "name": name,
                "now": today,
                "then": end,
                "disruption_seconds": _disruption(number, end, after),
                "next_call_seconds": _next_call(ends) if end == "asleep" else None,
            }
        )
    return found


def _stays(fleet: Fleet, deployment: int) -> bool:
    row = fleet.deployments.get(deployment)
    return row is not None and not row.deleting


def _at_the_end(course: Course, deployment: int) -> list[State]:
    ends = (one for number, one in course.imagined.items() if number not in course.gone)
    return [one.state for one in ends if one.deployment == deployment]


def _best(states: Iterable[State]) -> str:
    """What a caller of the deployment meets: the best of its replicas."""
    there = set(states)
    if State.READY in there:
        return "serves"
    if there & {State.PENDING, State.STARTING, State.WAKING, State.DRAINING}:
        return "under way"
    if State.SLEEPING in there:
        return "asleep"
    return "failed" if State.FAILED in there else "stopped"


def _disruption(deployment: int, then: str, after: Course) -> float | None:
    if then != "serves" or deployment in after.unsure:
        return None
    return round(after.down_seconds.get(deployment, 0.0), 3)


def _next_call(ends: list[Imagined]) -> float | None:
    known = [one.costs.wake for one in ends if one.state == State.SLEEPING and one.costs.wake is not None]
    return round(min(known), 3) if known else None


def expected_awake(fleet: Fleet, course: Course, rates: Mapping[str, float], min_resident_seconds: float) -> float:
    """E = sum of 1 - exp(-rate * seconds awake after a call); who neither sleeps nor may sleep counts as one."""
    total = 0.0
    for deployment in fleet.deployments.values():
        ends = _best(_at_the_end(course, deployment.pk))
        stays = deployment.pinned or deployment.idle_sleep_seconds is None
        if ends == "serves" and stays:
            total += 1.0
        elif ends in ("serves", "asleep"):
            seconds = deployment.idle_sleep_seconds or min_resident_seconds
            total += 1.0 - math.exp(-rates.get(deployment.served_name, 0.0) * seconds)
    return round(total, 2)


def two_phase(now: Fleet, then: Fleet) -> bool:
    """Whether a replica makes room for its own replacement, so that its calls are held meanwhile."""
    return any(_gives_way(row) and not _gives_way(now.replicas.get(pk)) for pk, row in then.replicas.items())


def _gives_way(row: Replica | None) -> bool:
    return row is not None and bool(row.gives_way)
