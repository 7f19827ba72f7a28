"""An engine that no replica owns becomes a replica of the deployment that would launch it just so, or is ended.

Its id and generation become the replica's own, for its key, its log and its KV memory are found by them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from django.db import connection, transaction

from gpus.models import GPU
from models_app import decisions, snapshot
from models_app.errors import NotAdoptable
from models_app.launch_settings import settings
from models_app.lifecycle import launch, queues, verbs
from models_app.lifecycle.placing import ADOPTED, place_around
from models_app.lifecycle.transition import record
from models_app.memory import placement
from models_app.models import Deployment, Replica
from models_app.states import LIVE, Goal, State

END = "end_orphan"
"""The code of an operator's word that one is to end; its worker reads it."""

_IDS = "pg_get_serial_sequence('models_app_replica', 'id')::regclass"
_LAST_ID = f"SELECT coalesce(pg_sequence_last_value({_IDS}), 0)"
_NEXT_ID = f"SELECT setval({_IDS}, greatest(%s, coalesce(pg_sequence_last_value({_IDS}), 0)))"


@dataclass(frozen=True, slots=True)
class Orphan:
    """One such engine, as its node sees it. It cannot be adopted where its `settings` or `port` are not known."""

    marker: str
    pid: int
    settings: str
    gpu_uuids: tuple[str, ...]
    port: int | None
    asleep: bool = False

    @property
    def number(self) -> int:
        """The id of the replica that it was started for."""
        return int(self.marker.partition(":")[0])


def match(orphan: Orphan) -> Deployment:
    """The deployment that would launch it just as it was. Raises NotAdoptable, in words."""
    if not orphan.settings:
        raise _not(orphan, "it does not tell what it was launched with")
    if orphan.port is None:
        raise _not(orphan, "its server process is gone")
    if Replica.objects.filter(pk=orphan.number).exists():
        raise _not(orphan, f"replica {orphan.number} is there, and goes on without it")
    found = Deployment.objects.filter(deleting=False).select_related("model", "runtime")
    deployment = next((one for one in found if launch.settings_of(settings(one)) == orphan.settings), None)
    if deployment is None:
        raise _not(orphan, "no deployment would launch it as it was launched")
    return deployment


def adopt(orphan: Orphan, *, actor: str) -> Replica:
    """A replica around it, in the stead of one that does not serve where its deployment has its number already.

    Its worker sees whether it answers, and fails it if not. Raises NotAdoptable and NoCapacity; then nothing changed.
    """
    claim_number(orphan.number)
    number = match(orphan).pk
    with transaction.atomic():
        deployment = verbs.lock_deployment(number)
        verbs.refuse_deleting(deployment)
        if orphan.asleep:
            raise _not(orphan, "it sleeps, and nobody knows at which level: it would wake with wrong weights")
        verbs.want(deployment, Goal.READY)
        idle, placing = _does_not_serve(deployment, orphan), partial(_place, orphan=orphan)
        if idle is None:
            replica = placing(deployment, actor=actor)
        else:
            if idle.port is None:  # it has no engine: what it was to hold is free
                placement.release(idle)
            replica = verbs.in_its_stead(deployment, idle, actor, placing=placing)
    snapshot.publish_deployment(deployment.pk, deployment.seq)
    return replica


def end(orphan: Orphan, *, actor: str) -> None:
    """Its worker ends it at the next look. Whoever adopted it meanwhile keeps it."""
    if Replica.objects.filter(pk=orphan.number).exists():
        raise _not(orphan, f"replica {orphan.number} owns it by now; stop that")
    words = f"the engine {orphan.marker} (pid {orphan.pid}), which no replica owns, is to end"
    keep(orphan, END, words, actor)
    for uuid in orphan.gpu_uuids or GPU.objects.filter(present=True).values_list("uuid", flat=True):
        queues.poke(uuid)


def keep(orphan: Orphan, code: str, words: str, actor: str) -> None:
    """What becomes of it is kept among the decisions, under the replica's id that it had."""
    try:
        name = match(orphan).name
    except NotAdoptable:
        name = ""
    inputs = {"marker": orphan.marker, "pid": orphan.pid, "gpus": list(orphan.gpu_uuids)}
    decisions.keep(decisions.Decided(decisions.Kind.ORPHAN, code, words, name, actor, orphan.number, inputs))


def claim_number(number: int) -> None:
    """No new replica gets this id: after a database was restored, ids would be given again that engines still bear."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_LAST_ID)
        if cursor.fetchone()[0] < number:
            cursor.execute("LOCK TABLE models_app_replica IN SHARE ROW EXCLUSIVE MODE")  # who adds a row takes an id
            cursor.execute(_NEXT_ID, [number])


def _does_not_serve(deployment: Deployment, orphan: Orphan) -> Replica | None:
    """Who goes for it; nobody while replicas are missing. Raises NotAdoptable where all of them serve."""
    kept = verbs.kept(deployment)
    idle = [row for row in kept if row.goal == Goal.STOPPED or row.state not in LIVE - {State.STARTING}]
    if len(kept) < deployment.in_force.replicas:
        return None
    if not idle:
        count = f"{len(kept)} replica{'s' if len(kept) > 1 else ''}"
        raise _not(orphan, f"{deployment} has its {count} already; give it one more, or end this engine")
    return idle[-1]


def _place(deployment: Deployment, *, actor: str, orphan: Orphan, **_: object) -> Replica:
    gpus = _lock(orphan.gpu_uuids)
    if len(gpus) != len(orphan.gpu_uuids):
        raise _not(orphan, "its GPUs are not known here")
    replica = place_around(deployment, gpus, orphan.marker, orphan.port or 0)
    words = f"the engine {orphan.marker} (pid {orphan.pid}), which no replica owned, is a replica of {deployment} now"
    record(replica, "", ADOPTED, actor, words, {"pid": orphan.pid, "marker": orphan.marker})
    return replica


def _lock(uuids: Sequence[str]) -> list[GPU]:
    """These GPUs, the lead first, ours until the transaction ends."""
    gpus = GPU.objects.select_for_update(of=("self",)).select_related("node").filter(uuid__in=uuids).order_by("uuid")
    return sorted(gpus, key=lambda gpu: uuids.index(gpu.uuid))


def _not(orphan: Orphan, why: str) -> NotAdoptable:
    return NotAdoptable(f"the engine {orphan.marker} cannot be adopted: {why}", marker=orphan.marker)
