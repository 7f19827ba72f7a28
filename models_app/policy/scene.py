"""What one decision about room is made of, read from rows and from what gateways report."""

import logging
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

from django.conf import settings
from django.db.models import Q, QuerySet
from django.utils import timezone
from redis import RedisError

from gpus.models import GPU
from models_app.memory import placement, standing
from models_app.memory.standing import Standing
from models_app.models import Deployment, Replica, Reservation, Transition
from models_app.policy import eviction
from models_app.policy.eviction import Resident, Scene, Sleeper
from models_app.spec import sleep_seconds, wake_seconds
from models_app.states import Goal, State
from models_app.traffic import activity
from models_app.traffic.activity import GatewayReport
from models_app.traffic.callers import Waiting

_WAKES = (State.SLEEPING, State.WAKING, State.DRAINING)
"""The states of a replica headed for ready that is, or soon will be, without a load."""

Row = TypeVar("Row", Replica, Standing)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Traffic:
    """What gateways say; `reports` is None while Redis is away or new: somebody asks, so there is a gateway."""

    reports: list[GatewayReport] | None
    waiting: dict[int, Waiting]
    used: dict[int, float]


def read_traffic() -> Traffic:
    try:
        reports = activity.read_reports()
        return Traffic(reports or None, activity.waiting(reports), activity.all_last_used())
    except (RedisError, OSError) as error:
        logger.warning("nobody is evicted: what gateways have in flight is unknown: error=%s", error)
        return Traffic(None, {}, {})


def headed_for_ready(placed: Iterable[Replica | Standing]) -> bool:
    return any(_claims(row) or row.restarting for row in placed)


def _claims(row: Replica | Standing) -> bool:
    """Whether it serves, or its place is sought already; one without an engine claims nothing until it is asked for."""
    down = row.state == State.FAILED or placement.waits_for_room(row)
    return row.goal == Goal.READY and (not down or row.reason == placement.CLAIMED)


def sleepers(placed: list[Row]) -> list[Row]:
    """Those of one deployment that may be woken, or started because their engine is gone; of a move, its source."""
    sources = {row.pk for row in placed}
    return [row for row in placed if row.replaces_id not in sources and _may_serve(row)]


def _may_serve(row: Replica | Standing) -> bool:
    if row.state == State.FAILED or placement.waits_for_room(row):
        return row.goal != Goal.STOPPED and row.restart_at is not None and not _claims(row)
    return row.goal == Goal.SLEEPING


class LockedGPUs:
    """Everything on these GPUs, as rows and traffic tell it while their rows are locked.

    Read are those that are awake or on their way, that are asked for, and those of the deployments that are `wanted`:
    of a thousand sleepers only the bytes matter.
    """

    def __init__(self, gpus: list[GPU], traffic: Traffic, wanted: Iterable[Replica] = ()) -> None:
        self.traffic = traffic
        self.now = timezone.now().timestamp()
        self.rules = eviction.Rules(settings.MIN_RESIDENT_SECONDS, settings.EVICT_WAIT_SECONDS)
        free = placement.free_later(gpus)
        self.free = {gpu.uuid: free[gpu.pk] for gpu in gpus}
        awake = Q(goal=Goal.READY) | Q(restarting=True)
        here = awake & Q(pk__in=Reservation.objects.filter(gpu__in=gpus).values("replica"))
        of = {*traffic.waiting, *(row.deployment_id for row in wanted)}
        asked_for = Q(deployment__in=of) | Q(reason=placement.CONSENTED)
        concerned = Replica.objects.filter(here | asked_for)
        self.rows = standing.read(concerned)
        self._frees = _frees(self.rows, concerned)
        by_deployment: dict[int, list[Standing]] = defaultdict(list)
        for row in self.rows:
            if not row.disposable:
                by_deployment[row.deployment_id].append(row)
        waited_for = [placed for pk, placed in by_deployment.items() if pk in traffic.waiting]
        self.asleep = [row for placed in waited_for if not headed_for_ready(placed) for row in sleepers(placed)]
        self.agreed = _agreed([row for row in self.rows if consented(row)])
        asked = {row.pk for row in self.asleep}
        self.asleep += [row for row in self.rows if row.pk in self.agreed and row.pk not in asked]
        self.by_gpu: dict[str, list[Standing]] = defaultdict(list)
        for row in self.rows:
            for uuid in self._frees[row.pk]:
                self.by_gpu[uuid].append(row)

    def of(self, replicas: Iterable[Replica]) -> list[Standing]:
        """How these stand, where they are among those that were read."""
        wanted = {row.pk for row in replicas}
        return [row for row in self.rows if row.pk in wanted]

    def of_deployment(self, deployment_id: int) -> list[Standing]:
        """How all stand that count for one that is wanted."""
        return [row for row in self.rows if row.deployment_id == deployment_id and not row.disposable]

    @cached_property
    def _replaced(self) -> set[int]:
        """Who is being moved; asked for only where somebody is in the way."""
        sources = Replica.objects.filter(replaces__isnull=False).values_list("replaces", flat=True)
        return {pk for pk in sources if pk is not None}

    def scene(self, row: Standing) -> Scene:
        """What a decision for this sleeper is made of."""
        wanted = self._sleeper(row)
        others = [self._sleeper(other) for other in self.asleep if other.deployment_id != row.deployment_id]
        rivals = tuple(rival for rival in others if rival.needs.keys() <= wanted.needs.keys())
        return replace(self._scene(wanted, row.deployment_id), rivals=rivals)

    def arrival(
        self, deployment: Deployment, uuids: Iterable[str], needed_bytes: int, waiting: Waiting | None = None
    ) -> Scene:
        """The same for a replica that is to come to these GPUs, as if nobody else were asked for."""
        waiting = waiting or Waiting(1, self.now, 0)
        wanted = Sleeper(0, deployment.name, dict.fromkeys(uuids, needed_bytes), waiting, cold=True)
        return self._scene(wanted, deployment.pk)

    def _scene(self, wanted: Sleeper, deployment_id: int) -> Scene:
        free = {uuid: self.free[uuid] for uuid in wanted.needs}
        return Scene(self.now, self.rules, free, wanted, tuple(self._residents(wanted, deployment_id)))

    def short_of_memory(self, row: Standing) -> Scene:
        """The same where the rows have room: of the bytes that lack, and who holds more than is reserved for him."""
        waits_for = row.profile.get("waits_for")
        wanted = replace(self._sleeper(row), needs=waits_for["short"] if waits_for else {})
        excess = {int(pk): size for pk, size in waits_for["excess"].items()} if waits_for else {}
        holders = [one for one in self._residents(wanted, row.deployment_id) if one.id in excess]
        frees = [{uuid: size + excess[one.id] for uuid, size in one.frees.items()} for one in holders]
        return Scene(
            now=self.now,
            rules=self.rules,
            free=dict.fromkeys(wanted.needs, 0),
            wanted=wanted,
            residents=tuple(replace(one, frees=freed) for one, freed in zip(holders, frees, strict=True)),
        )

    def short_of_limits(self, wanting: Replica, uuid: str, lacking_bytes: int) -> Scene:
        """The same for an engine that serves and lacks KV memory: only idle ones go for it, of no higher priority."""
        priority = wanting.deployment.in_force.priority
        waiting = Waiting(1, self.now, priority)
        wanted = Sleeper(wanting.pk, wanting.deployment.name, {uuid: lacking_bytes}, waiting)
        around = self._residents(wanted, wanting.deployment_id)
        idle = tuple(one for one in around if one.movable and one.idle and one.priority <= priority)
        enough = min(lacking_bytes, sum(one.frees[uuid] for one in idle))  # what there is helps as well
        wanted = replace(wanted, needs={uuid: enough})
        return Scene(self.now, self.rules, {uuid: 0}, wanted, idle)

    def _sleeper(self, row: Standing) -> Sleeper:
        unheard = Waiting(1, self.now, 0)  # its gateway's first call may come before its first report
        calls, agreed = self.traffic.waiting.get(row.deployment_id), self.agreed.get(row.pk)
        waiting = calls + agreed if calls and agreed else calls or agreed or unheard
        seconds = row.profile.get("load_seconds") if row.down else wake_seconds(row.profile, row.sleep_level)
        return Sleeper(row.pk, row.name, self._frees[row.pk], waiting, seconds, row.down)

    def _residents(self, wanted: Sleeper, deployment_id: int) -> Iterable[Resident]:
        here = {row.pk: row for uuid in wanted.needs for row in self.by_gpu[uuid]}
        for pk, row in sorted(here.items()):
            if pk != wanted.id and (_claims(row) or row.restarting):
                frees = {uuid: size for uuid, size in self._frees[pk].items() if uuid in wanted.needs}
                yield self._resident(row, frees, copy=row.deployment_id == deployment_id)

    def _resident(self, row: Standing, frees: dict[str, int], *, copy: bool) -> Resident:
        moves = row.replaces_id is not None or row.pk in self._replaced
        serves = row.state == State.READY and not row.restarting and not moves
        reports, waiting = self.traffic.reports, self.traffic.waiting.get(row.deployment_id)
        return Resident(
            id=row.pk,
            name=row.name,
            frees=frees,
            priority=row.priority,
            pinned=row.stays,
            sleep_enabled=row.sleep_enabled,
            copy=copy,
            ready_at=row.state_at.timestamp() if serves else None,
            wakes=row.state in _WAKES and not row.restarting,
            in_flight=None if reports is None else activity.in_flight(row.marker, reports),
            waiting=None if reports is None else waiting.count if waiting else 0,
            used_at=self.traffic.used.get(row.deployment_id),
            sleep_seconds=sleep_seconds(row.profile, row.generation) if row.sleep_enabled else None,
            wake_seconds=row.profile.get("wake_seconds") if row.sleep_enabled else row.profile.get("load_seconds"),
        )


def _frees(rows: list[Standing], same: QuerySet[Replica]) -> dict[int, dict[str, int]]:
    """Of each by GPU uuid, bytes between awake and asleep; one without an engine, or that cannot sleep, holds none."""
    ends = {row.pk: row.down or not row.sleep_enabled for row in rows}
    found: dict[int, dict[str, int]] = {pk: {} for pk in ends}
    reserved = Reservation.objects.filter(replica__in=same.order_by().values("pk")).order_by("pk")
    for pk, uuid, awake, asleep in reserved.values_list("replica", "gpu__uuid", "awake_bytes", "asleep_bytes"):
        if pk in found:  # else it came to be between the two queries
            found[pk][uuid] = awake if ends[pk] else awake - asleep
    return found


def consented(row: Replica | Standing) -> bool:
    """Whether an operator agreed that others go for it, and it waits until the rules allow it."""
    return row.reason == placement.CONSENTED and row.goal != Goal.STOPPED and not row.disposable


def _agreed(rows: list[Standing]) -> dict[int, Waiting]:
    """Since when each waits on its operator's word, as one request of common priority would."""
    if not rows:
        return {}
    told = Transition.objects.filter(replica__in=[row.pk for row in rows], reason=placement.CONSENTED).order_by("id")
    since = {pk: at.timestamp() for pk, at in told.values_list("replica", "at")}  # the latest stays
    return {row.pk: Waiting(1, since.get(row.pk, row.state_at.timestamp()), 0) for row in rows}
