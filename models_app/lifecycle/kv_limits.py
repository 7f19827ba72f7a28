"""GPUs as they are, read into a `Scene`: who takes memory there now, who waits for it, and who has KV memory."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from django.conf import settings
from django.db.models import Q, QuerySet

from gpus import kvcached
from gpus.readings import DeviceReading
from models_app.errors import MemoryHeld
from models_app.lifecycle import observe
from models_app.lifecycle.observe import World
from models_app.memory import reclaim
from models_app.memory.reclaim import Claimant, Device, Neighbour, Scene
from models_app.models import Replica, Reservation
from models_app.states import Goal, State

MARGIN_RATIO = 0.05
"""kvcached maps nothing more once less than this part of a GPU is free."""

AGAIN_SECONDS = 5.0
"""So long at most the rows that the node's loop goes by may differ from those that nobody has counted a write of."""

_TAKES = (State.STARTING, State.WAKING)
_HAVE_KV = (State.READY, State.DRAINING)


def require(replica: Replica, around: World) -> None:
    """Raise MemoryHeld unless its GPUs have the bytes that it takes when it wakes or loads."""
    scene = look(replica.gpu_uuids, around, besides=replica)
    wanted = next(claimant for claimant in scene.claimants if claimant.id == replica.pk)
    if short := reclaim.shortage(scene, wanted):
        raise MemoryHeld(
            reclaim.words(scene, short),
            needed_bytes=max(short.values()),
            short=short,
            excess={str(one.id): one.excess_bytes for one in reclaim.over_floor(scene)},
        )


def over_floor(replica: Replica, around: World) -> list[Neighbour]:
    """Neighbours that hold KV memory that is not reserved for them: whose fault it is when its GPU has too little."""
    return reclaim.over_floor(look(replica.gpu_uuids, around))


def look(uuids: Iterable[str], around: World, *, besides: Replica | None = None) -> Scene:
    """These GPUs as they are: who takes memory there now, who waits for it, and who has KV memory to give back.

    `besides` waits too, behind all others unless it has its place among them.
    """
    readings = observe.readings(uuids)
    return scene(readings, read(readings), around, besides=besides)


def read(uuids: Iterable[str]) -> list[Replica]:
    """The rows of all on these GPUs that have KV memory, take memory or wait for it; a sleeper in peace does not."""
    matters = Q(state__in=(*_TAKES, *_HAVE_KV)) | Q(reason=MemoryHeld.code)
    return list(_placed(uuids).filter(matters).select_related("deployment").order_by("pk"))


def _placed(uuids: Iterable[str]) -> QuerySet[Replica]:
    return Replica.objects.filter(pk__in=Reservation.objects.filter(gpu__uuid__in=list(uuids)).values("replica"))


@dataclass(slots=True)
class Rows:
    """All there, second after second: a row is read again once it or its deployment was written, or it was long ago."""

    known: dict[int, tuple[tuple[int, int], Replica]] = field(default_factory=dict)
    read_at: float = float("-inf")

    def read(self, uuids: Iterable[str]) -> list[Replica]:
        """The rows of all that have a place on these GPUs."""
        if time.monotonic() - self.read_at >= AGAIN_SECONDS:
            self.known, self.read_at = {}, time.monotonic()
        marks = {pk: (own, of) for pk, own, of in _placed(uuids).values_list("pk", "seq", "deployment__seq")}
        self.known = {pk: kept for pk, kept in self.known.items() if kept[0] == marks.get(pk)}
        if missing := marks.keys() - self.known.keys():
            for row in Replica.objects.filter(pk__in=missing).select_related("deployment"):
                self.known[row.pk] = (row.seq, row.deployment.seq), row
        return [row for _, (_, row) in sorted(self.known.items())]


def scene(
    readings: Mapping[str, DeviceReading], here: list[Replica], around: World, *, besides: Replica | None = None
) -> Scene:
    """The same of what was read before."""
    claims = [*(row for row in here if row.state in _TAKES), *(row for row in here if _waits(row))]
    if besides is not None and besides not in claims:
        claims.append(besides)
    neighbours = (_neighbour(row) for row in here if row.state in _HAVE_KV)
    return Scene(
        {uuid: _device(reading) for uuid, reading in readings.items()},
        tuple(_claimant(row, around, readings) for row in claims),
        tuple(one for one in neighbours if one is not None),
    )


def _waits(row: Replica) -> bool:
    """Whether it comes as soon as its GPU has the memory."""
    comes = row.goal != Goal.STOPPED if row.state == State.PENDING else row.state == State.SLEEPING
    return row.reason == MemoryHeld.code and comes and (row.state == State.PENDING or row.goal == Goal.READY)


def _device(reading: DeviceReading) -> Device:
    margin = int(reading.memory_total_bytes * MARGIN_RATIO)
    return Device(f"GPU {reading.index}", reading.memory_free_bytes, margin)


def _claimant(row: Replica, around: World, readings: Mapping[str, DeviceReading]) -> Claimant:
    floor, engine = row.kv_floor_bytes, around.engines.get(row.marker)
    own_bytes = observe.held_bytes(engine, readings) if engine is not None else {}
    needs = {}
    for reservation in row.reservations.select_related("gpu"):
        kept = reservation.asleep_bytes if row.state in (State.SLEEPING, State.WAKING) else 0
        has = max(own_bytes.get(reservation.gpu.uuid, 0), kept)
        needs[reservation.gpu.uuid] = max(reservation.awake_bytes - floor - has, 0)
    return Claimant(row.pk, row.deployment.name, needs, floor)


def _neighbour(row: Replica) -> Neighbour | None:
    """As its segment says; None where its KV memory is not elastic."""
    segment = kvcached.read(settings.SEGMENT_DIR, row.ipc_name) if row.ipc_name else None
    if segment is None:
        return None
    return Neighbour(
        id=row.pk,
        name=row.deployment.name,
        uuids=frozenset(row.gpu_uuids),
        mapped_bytes=segment.mapped_bytes,
        floor_bytes=row.kv_floor_bytes,
        limit_bytes=segment.limit_bytes,
        first_limit_bytes=_first_limit(row, segment.limit_bytes),
    )


def _first_limit(row: Replica, present_bytes: int) -> int:
    """What it may grow to while nobody competes: as launched, or the KV cap in force where that is lower."""
    launched = int(row.profile.get("kv_limit_bytes") or present_bytes)
    cap = row.deployment.in_force.kv_cap_bytes
    return launched if cap is None else max(min(launched, cap), min(launched, row.kv_floor_bytes))
