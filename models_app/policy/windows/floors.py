"""KV floors in force reach the engines that run: lowered first, for that is the room that others are raised into."""

import logging
from datetime import datetime, timedelta

from django.db import DatabaseError, transaction
from django.db.models import BigIntegerField, Case, F, When

from models_app.errors import NoCapacity, ReplicaMoved
from models_app.lifecycle.transition import lock, note
from models_app.memory import placement
from models_app.models import Replica
from models_app.policy.windows.reading import ReplicaRow, Row
from models_app.states import AWAKE, LIVE, State
from sardeenz import sizes

PAUSE = timedelta(seconds=5)
"""One that found no room is tried again so much later."""

logger = logging.getLogger(__name__)


class Floors:
    """Remembers which floors found no room, and until when they are left alone; losing that costs one look."""

    def __init__(self) -> None:
        self._until: dict[tuple[int, int], datetime] = {}

    def bring_about(self, rows: list[Row], replicas: dict[int, list[ReplicaRow]], now: datetime) -> None:
        """Change the floor of every engine whose deployment has another one in force."""
        due = [
            (wanted - int(one.floor), one, wanted)
            for row in rows
            if (wanted := _wanted(row)) is not None
            for one in replicas.get(row.id, ())
            if one.floor is not None and int(one.floor) != wanted and _runs(one)
        ]
        self._until = {key: until for key, until in self._until.items() if until > now and until - now <= PAUSE}
        for _, one, wanted in sorted(due, key=lambda each: each[0]):
            if (one.id, wanted) not in self._until:
                self._change(one, wanted, now)

    def _change(self, one: ReplicaRow, wanted: int, now: datetime) -> None:
        row = Replica.objects.select_related("deployment", "gpu").filter(pk=one.id).first()
        try:
            if row is not None:
                change(row, wanted)
        except (NoCapacity, ReplicaMoved, DatabaseError) as error:
            self._until[one.id, wanted] = now + PAUSE
            logger.info("KV floor not changed: replica=%s error=%s", one.id, error)


def _runs(one: ReplicaRow) -> bool:
    return one.state in LIVE or one.state == State.PENDING


def _wanted(row: Row) -> int | None:
    """The floor in force; None where it is worked out at each launch and nobody changed it."""
    source = row.governed.get("fields", {}).get("kv_floor_bytes")
    if source is not None:
        return int(source["value"])
    return row.kv_floor_bytes if row.kv_floor_bytes is not None else row.governed.get("own_floor_bytes")


@transaction.atomic
def change(replica: Replica, floor_bytes: int) -> None:
    """Reserve another KV floor for it. Raises NoCapacity, with the arithmetic, where its GPU has no room for more."""
    lock(replica)
    gpus = placement.lock([replica])
    more = floor_bytes - replica.kv_floor_bytes
    free = placement.free_bytes(gpus) if more > 0 and replica.state in AWAKE else {}
    for gpu in gpus if free else ():
        if free[gpu.pk] < more:
            lacks = f"{sizes.shown(more)} more are needed and {sizes.shown(max(free[gpu.pk], 0))} are free"
            raise NoCapacity(
                f"the KV floor of {replica} stays {sizes.shown(replica.kv_floor_bytes)}: on GPU {gpu.index} {lacks}",
                needed_bytes=more,
                free_bytes=free[gpu.pk],
                gpu=gpu.uuid,
            )
    holds_all = When(held_bytes=F("awake_bytes"), then=F("held_bytes") + more)
    held = Case(holds_all, default=F("held_bytes"), output_field=BigIntegerField())
    replica.reservations.update(awake_bytes=F("awake_bytes") + more, held_bytes=held)
    note(replica, spec=replica.spec | {"kv_floor_bytes": floor_bytes})
