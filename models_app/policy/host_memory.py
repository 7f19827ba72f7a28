"""Who gives back host RAM where a node has too little: sleepers, the least valuable first, by the rules of `eviction`.

One step at a time: from level 1 to level 2, which takes a wake and so room on its GPU for a moment, else, and from
level 2, to no engine at all; it loads at its next request. Pinned ones stay, and so does whom somebody waits for.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from django.conf import settings
from django.db import DatabaseError, transaction
from django.db.models import Q
from django.utils import timezone

from gpus.models import Node
from models_app import compatibility
from models_app.errors import ReplicaMoved
from models_app.lifecycle import loads, verbs
from models_app.memory import host_ram, host_rows
from models_app.memory.host_ram import Host
from models_app.models import Replica
from models_app.policy import descent, eviction
from models_app.policy.eviction import Resident, Scene, Sleeper, Verdict
from models_app.policy.scene import Traffic, read_traffic
from models_app.states import LIVE, Goal, State
from models_app.traffic import activity
from models_app.traffic.callers import Waiting
from sardeenz import sizes

HOST = "host"
"""Stands for the node's RAM where the rules name GPUs."""
SHORT = "host_memory_short"
ACTOR = "rule:host_memory"
_SLEEPS = Q(state=State.SLEEPING, goal=Goal.SLEEPING)
_FALLS = Q(state__in=[State.READY, State.DRAINING], goal=Goal.SLEEPING, sleep_level=1)
_DEMOTION = Q(state__in=[State.WAKING, State.READY, State.DRAINING], sleep_level=2) | Q(state=State.STOPPING)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Step:
    """What one sleeper can do for its node."""

    row: Replica
    reason: str
    gives_bytes: int

    @property
    def words(self) -> str:
        """What becomes of the sleeper, in a clause for its row."""
        gives = f"it gives back {sizes.shown(self.gives_bytes)} of host RAM"
        match self.reason:
            case host_rows.DEEPENS:
                return f"{gives} and sleeps on at level 2"
            case host_rows.RESTS:
                return f"{gives} and loads at its next request"
        return f"it takes no {sizes.shown(self.gives_bytes)} of host RAM and sleeps at level 2"


def relieve() -> None:
    """Have sleepers of every node give way as far as its RAM lacks; and keep what was measured of them."""
    for node in Node.objects.order_by("name"):
        try:
            _learn(node)
            _relieve(node)
        except (ReplicaMoved, DatabaseError) as error:
            logger.info("host RAM not seen to: node=%s error=%s", node.name, error)


def _relieve(node: Node) -> None:
    host = host_rows.read(node)
    ram_lacking = _ram_lacking(node, host)
    lacking, why = _lacking(host, ram_lacking)
    if not lacking or _under_way(node) or (ram_lacking and not _measured(node)):
        return
    traffic = read_traffic()  # before any lock: Redis may take its time
    with transaction.atomic():
        node = Node.objects.select_for_update().get(pk=node.pk)
        host = host_rows.read(node)
        lacking, why = _lacking(host, _ram_lacking(node, host))
        steps = _steps(node)
        residents = [_resident(step, traffic) for step in steps.values()]
        idle = [one for one in residents if one.movable and one.in_flight is not None and not one.busy]
        needed = min(lacking, sum(one.frees[HOST] for one in idle))
        if not needed:
            return
        seen = _scene(node, needed, idle)
        decision = eviction.decide(seen)
        if decision.verdict is Verdict.EVICT:
            chosen = [steps[resident.id] for resident in decision.residents]
            _demote(chosen, why, eviction.explain(seen, decision))


def _lacking(host: Host, ram_lacking: int) -> tuple[int, str]:
    """Bytes that sleepers have to give back, and why, in words; nothing where all is well."""
    if host.budget_left_bytes < 0:
        over = sizes.needed(-host.budget_left_bytes)
        return max(-host.budget_left_bytes, ram_lacking), f"sleepers on {host.name} hold {over} too much"
    return ram_lacking, f"{host.name} lacks {sizes.needed(ram_lacking)} of host RAM"


def _ram_lacking(node: Node, host: Host) -> int:
    """For the margin, for those on their way to sleep, and for the loads that wait."""
    pending = Replica.objects.filter(gpu__node=node, state=State.PENDING).exclude(goal=Goal.STOPPED)
    short = host_ram.ram_shortage(host, sum(loads.host_bytes(row) for row in pending))
    return short.lacking_bytes if short is not None else 0


def _under_way(node: Node) -> bool:
    """Whether somebody is being demoted."""
    here = Replica.objects.filter(gpu__node=node, goal=Goal.SLEEPING)
    return here.filter(Q(reason__in=host_rows.DEMOTED) & ~Q(state=State.STOPPED) | _DEMOTION).exists()


def _measured(node: Node) -> bool:
    """Whether what came of the last sleep was measured: the budget is arithmetic of rows, RAM itself is a reading."""
    here = Replica.objects.filter(gpu__node=node, goal=Goal.SLEEPING, state=State.SLEEPING)
    now, newest = host_rows.ledger(node.name), here.order_by("-state_at").first()
    return now is None or newest is None or now["measured_at"] > newest.state_at.timestamp()


def _steps(node: Node) -> dict[int, Step]:
    """The next step down of everybody who could take one."""
    rows = Replica.objects.filter(_SLEEPS | _FALLS, gpu__node=node, state__in=LIVE, replaces=None)
    rows = rows.select_related("deployment__model").order_by("pk")
    now = host_rows.ledger(node.name)
    steps = {}
    for row in rows:
        if row.state != State.SLEEPING:
            step = None if verbs.sleep_began(row) else Step(row, SHORT, host_rows.copy_of(row).lasting_bytes)
        elif row.sleep_level == 1 and not compatibility.unsafe(row, 2) and descent.has_room(row):
            step = Step(row, host_rows.DEEPENS, host_rows.kept_bytes(row, now))
        else:
            step = Step(row, host_rows.RESTS, host_rows.held(row, now) or host_rows.kept_bytes(row, now))
        if step is not None and step.gives_bytes > 0:
            steps[row.pk] = step
    return steps


def _resident(step: Step, traffic: Traffic) -> Resident:
    """As the rules for GPUs see it; it comes back by a load once it has no engine."""
    row, waiting = step.row, traffic.waiting.get(step.row.deployment_id)
    back = "load_seconds" if step.reason == host_rows.RESTS else "deep_wake_seconds"
    return Resident(
        id=row.pk,
        name=row.deployment.name,
        frees={HOST: step.gives_bytes},
        priority=row.deployment.in_force.priority,
        pinned=row.deployment.in_force.stays,
        ready_at=0.0,
        in_flight=None if traffic.reports is None else activity.in_flight(row.marker, traffic.reports),
        waiting=waiting.count if waiting is not None else 0,
        used_at=traffic.used.get(row.deployment_id),
        sleep_seconds=row.profile.get("sleep_seconds"),
        wake_seconds=row.profile.get(back),  # type: ignore[arg-type]
    )


def _scene(node: Node, needed: int, residents: Iterable[Resident]) -> Scene:
    now = timezone.now().timestamp()
    rules = eviction.Rules(settings.MIN_RESIDENT_SECONDS, settings.EVICT_WAIT_SECONDS)
    wanted = Sleeper(0, node.name, {HOST: needed}, Waiting(1, now, 0))
    return Scene(now, rules, {HOST: 0}, wanted, tuple(residents))


def _demote(steps: list[Step], why: str, fields: dict[str, object]) -> None:
    rows = [step.row.pk for step in steps]
    locked = Replica.objects.select_for_update(skip_locked=True).filter(pk__in=rows)
    if len(locked.values_list("pk", flat=True)) != len(rows):
        raise ReplicaMoved("somebody else changes these replicas right now; look again", replica=rows[0])
    for step in steps:
        level = step.row.sleep_level if step.reason == host_rows.RESTS else 2
        message = f"{why}: {step.words}"
        change = {"reason": step.reason, "message": message, "sleep_level": level, "fields": fields}
        verbs.set_goal(step.row, Goal.SLEEPING, actor=ACTOR, **change)  # type: ignore[arg-type]


def _learn(node: Node) -> None:
    """What an engine holds fresh, and asleep at level 1, once it was measured in that state."""
    here = Replica.objects.filter(gpu__node=node, state__in=[State.READY, State.SLEEPING], sleep_level=1)
    rows = list(here.select_related("deployment", "gpu"))
    now = host_rows.ledger(node.name) if rows else None
    for row in rows if now is not None else ():
        held, asleep = host_rows.held(row, now), row.state == State.SLEEPING
        fresh = row.profile.get("first_sleep_of") != row.generation
        name = "host_asleep_bytes" if asleep else "host_bytes" if fresh else ""
        known = row.profile.get(name)
        if name and held is not None and (known is None or abs(held - int(str(known))) > held // 20):
            verbs.note(row, profile=row.profile | {name: held})
