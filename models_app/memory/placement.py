"""Which GPU, and whether there is room: bytes are promised under the GPU's row lock and counted until seen to be free.

Locks follow three rules: lock what gets scarcer, once per transaction, in uuid order, before looking at the quantity.
Giving bytes back needs no lock.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import BigIntegerField, Case, F, Q, Sum, When

from gpus import telemetry
from gpus.errors import TelemetryUnavailable
from gpus.models import GPU, Node
from models_app.catalogue import sources
from models_app.errors import GPUCordoned, HostMemoryShort, NeverFits, NoCapacity
from models_app.memory import cordoned, estimate, flags, host_ram, host_rows, profiles
from models_app.memory.host_ram import Host, Shortage
from models_app.memory.standing import Standing
from models_app.models import Deployment, Replica, Reservation
from models_app.spec import BY_STOP
from models_app.states import Goal, State
from models_app.traffic.callers import WAITS_FOR_ROOM
from sardeenz import sizes
from sardeenz.errors import InvalidSpec

_MEASURED = ("weights_bytes", "overhead_bytes")
CLAIMED = "wake"
"""The reason on a row for which room was sought: a failed one with it has claimed its place."""

CONSENTED = "waits_to_evict"
"""The reason on a row whose operator agreed to evictions that the rules do not allow yet."""

FOR_WANT_OF_ROOM = (NoCapacity.code, GPUCordoned.code, WAITS_FOR_ROOM, CONSENTED)
"""The reasons on a row without an engine that found no room: it is tried again, and claims nothing meanwhile."""

_COLD = Q(replica__state=State.FAILED, replica__reason=CLAIMED)
_PUT_OFF = Q(replica__state=State.STOPPED, replica__goal=Goal.READY, replica__reason__in=FOR_WANT_OF_ROOM)
_ASKED = Q(replica__state__in=[State.SLEEPING, State.STOPPED]) & ~_PUT_OFF
_CLAIMS = Q(replica__goal=Goal.READY) & (_ASKED | _COLD)
_FAILED = Q(replica__state=State.FAILED) & ~(_COLD & Q(replica__goal=Goal.READY))
_ENDS = Q(replica__state__in=[State.STOPPING, State.STOPPED]) | Q(replica__spec__sleep_enabled=False)
_RESTS = Q(replica__goal=Goal.SLEEPING) & (
    _ENDS | Q(replica__profile__gives_way=BY_STOP)
)  # it sleeps without an engine
_LEAVES = Q(replica__goal=Goal.STOPPED, replica__restarting=False) | _FAILED | _RESTS | _PUT_OFF


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes on each GPU of a replica."""

    weights_bytes: int
    overhead_bytes: int
    kv_floor_bytes: int

    @property
    def awake_bytes(self) -> int:
        """What cannot be taken away from an awake engine."""
        return self.weights_bytes + self.overhead_bytes + self.kv_floor_bytes

    @property
    def asleep_bytes(self) -> int:
        """What stays on the GPU during sleep: context and graphs. Measured and corrected at the first sleep."""
        return self.overhead_bytes


def waits_for_room(replica: Replica | Standing) -> bool:
    """Whether it has no engine for want of room alone, and is tried again when there is some."""
    return replica.down and replica.goal == Goal.READY and replica.reason in FOR_WANT_OF_ROOM


def need(deployment: Deployment) -> Need:
    """What one replica needs per GPU: declared, else measured at an earlier load, else estimated from the files.

    Raises InvalidSpec when nothing is declared, measured or readable.
    """
    profile = profiles.measured(deployment)
    guess = estimated(deployment)
    weights = deployment.weights_bytes or (profile and profile.weights_bytes) or (guess and guess.weights_bytes)
    if not weights:
        why = sources.why_unread(deployment.model.source, deployment.model.revision)
        raise InvalidSpec(
            f"the model's files cannot be read here{f' ({why})' if why else ''}, so its size is unknown: say how large "
            "its weights are, as 16GiB",
            field="weights_bytes",
        )
    overhead = deployment.overhead_bytes or (profile and profile.overhead_bytes) or (guess and guess.overhead_bytes)
    said = deployment.in_force.kv_floor_bytes
    floor = said if said is not None else guess and guess.kv_floor_bytes
    return Need(weights, overhead or estimate.DEFAULT_OVERHEAD_BYTES, floor or estimate.DEFAULT_KV_FLOOR_BYTES)


def estimated(deployment: Deployment) -> estimate.Estimate | None:
    """What its model's facts let expect; None where they do not even tell its size."""
    if not deployment.model.facts:
        return None
    return estimate.estimate(
        deployment.model.facts,
        tensor_parallel=deployment.tensor_parallel,
        max_model_len=deployment.max_model_len,
        kind=deployment.runtime.kind,
        version=deployment.runtime.version,
        extra_args=deployment.extra_args,
        draft=_draft(deployment.extra_args),
    )


def _draft(extra_args: list[str]) -> dict[str, Any] | None:
    """The facts of the model that drafts tokens; None without one, or where its files cannot be read here."""
    source = flags.speculation(extra_args).get("model")
    try:
        return sources.facts(source) or None if isinstance(source, str) else None
    except InvalidSpec:
        return None


def need_again(replica: Replica, deployment: Deployment) -> Need:
    """What a copy of the replica needs: as at its launch, or as it was measured since."""
    profile: dict[str, Any] = {**replica.profile}
    measured = {name: profile[name] for name in _MEASURED if profile.get(name)}
    known: dict[str, Any] = {**replica.spec, **measured}
    weights, overhead, floor = (known.get(name) for name in ("weights_bytes", "overhead_bytes", "kv_floor_bytes"))
    return Need(weights, overhead, floor) if weights and overhead and floor else need(deployment)


def choose(deployment: Deployment, wanted: Need, *, gpu: GPU | None = None) -> list[GPU]:
    """Lock the candidates and pick the GPUs for one replica, the lead GPU first: the most free bytes win.

    A given `gpu` is the lead. Raises NoCapacity with the arithmetic of the best that was found.
    """
    return pick(candidates(deployment), wanted, deployment.tensor_parallel, gpu=gpu)


def candidates(deployment: Deployment) -> "Choice":
    """What a replica of this deployment may be placed on, locked."""
    locked = lock_open()
    return Choice(locked, free_bytes(locked), copies(deployment), cordoned.there())


def lock_open() -> list[GPU]:
    """Every GPU that takes new replicas, ours until the transaction ends."""
    open_gpus = GPU.objects.filter(enabled=True, present=True).select_related("node").order_by("uuid")
    return list(open_gpus.select_for_update(of=("self",)))


@dataclass(frozen=True, slots=True)
class Choice:
    """What a replica may be placed on: the GPUs, the free bytes of each, and its deployment's replicas there.

    Those that are `cordoned` take nothing, and what would fit there when they are empty fits one day.
    """

    gpus: list[GPU]
    free: dict[int, int]
    copies: dict[int, int]
    cordoned: list[GPU] = field(default_factory=list)


def pick(among: Choice, wanted: Need, width: int, *, gpu: GPU | None = None) -> list[GPU]:
    """The `width` GPUs of one node for one replica, the lead first. Raises NoCapacity or NeverFits."""
    best: list[GPU] = []
    with_room = [candidate for candidate in among.gpus if among.free[candidate.pk] >= wanted.awake_bytes]
    for node_id in {candidate.node_id for candidate in with_room}:
        ranked = sorted(
            (candidate for candidate in with_room if candidate.node_id == node_id),
            key=lambda one: (gpu is None or one.pk != gpu.pk, among.copies.get(one.pk, 0), -among.free[one.pk]),
        )[:width]
        if len(ranked) < width or (gpu is not None and ranked[0].pk != gpu.pk):
            continue
        if not best or among.free[ranked[0].pk] > among.free[best[0].pk]:
            best = ranked
    if not best:
        raise _no_room(wanted.awake_bytes, among, gpu, width)
    return best


def explain(among: Choice, wanted: Need, chosen: Sequence[GPU], gpu: GPU | None) -> tuple[str, dict[str, Any]]:
    """Why these GPUs, in a sentence, and all that the choice was made of."""
    here, others = set(chosen), [one for one in among.gpus if one not in chosen]
    names = " and ".join(_named(one) for one in among.gpus if one in here)
    beside = sorted(others, key=lambda one: -among.free[one.pk])[:3]
    elsewhere = [f"{_named(one)} has {sizes.free(max(among.free[one.pk], 0))}" for one in beside]
    why = "as it was asked for" if gpu is not None else f"others: {', '.join(elsewhere)}" if others else "the only one"
    free = sizes.free(min(among.free[one.pk] for one in chosen))
    words = f"placed on {names}, {free} free: {sizes.needed(wanted.awake_bytes)} are needed; {why}"
    of_each = [
        {
            "gpu": one.uuid,
            "name": _named(one),
            "free_bytes": among.free[one.pk],
            "copies": among.copies.get(one.pk, 0),
            "chosen": one in here,
        }
        for one in among.gpus
    ]
    return words, {"needed_bytes": wanted.awake_bytes, "asked_for": gpu.uuid if gpu else None, "candidates": of_each}


def copies(deployment: Deployment) -> dict[int, int]:
    """How many replicas of the deployment hold each GPU already: copies spread out."""
    holding = Reservation.objects.filter(replica__deployment=deployment.pk, held_bytes__gt=0)
    return Counter(holding.values_list("gpu_id", flat=True))


def free_bytes(gpus: Iterable[GPU], *, besides: Replica | None = None) -> dict[int, int]:
    """Bytes that may still be promised on each GPU: memory - headroom - promises - what foreign processes hold.

    Who heads for ready without holding its bytes yet has claimed them, `besides` excepted.
    """
    claims = _CLAIMS if besides is None else _CLAIMS & ~Q(replica=besides)
    return _free(gpus, Case(When(claims, then=F("awake_bytes")), default=F("held_bytes")))


def free_later(gpus: Iterable[GPU], *, besides: Replica | None = None) -> dict[int, int]:
    """The same once every replica has arrived where it is headed; negative where that cannot come to pass."""
    asleep = When(replica__goal=Goal.SLEEPING, then=F("asleep_bytes"))
    gone = When(_LEAVES if besides is None else _LEAVES | Q(replica=besides), then=0)
    return _free(gpus, Case(gone, asleep, default=F("awake_bytes"), output_field=BigIntegerField()))


def _free(gpus: Iterable[GPU], promise: Case) -> dict[int, int]:
    held = Reservation.objects.filter(gpu__in=gpus).values("gpu").annotate(total=Sum(promise))
    promised = {row["gpu"]: row["total"] for row in held}
    foreign = _foreign_bytes()
    return {
        gpu.pk: gpu.memory_bytes - gpu.headroom_bytes - promised.get(gpu.pk, 0) - foreign.get(gpu.uuid, 0)
        for gpu in gpus
    }


def _foreign_bytes() -> dict[str, int]:
    """What processes that are not our engines hold of each GPU, by uuid; nothing where it is not known."""
    try:
        frames = telemetry.latest()
    except TelemetryUnavailable:
        return {}
    return {
        gpu["uuid"]: sum(process["memory_bytes"] or 0 for process in gpu["processes"] if process["marker"] is None)
        for frame in frames
        for gpu in frame["gpus"]
    }


def _named(gpu: GPU) -> str:
    return f"GPU {gpu.index} of {gpu.node.name}"


def _no_room(needed: int, among: Choice, gpu: GPU | None, width: int) -> NoCapacity | NeverFits:
    candidates = [candidate for candidate in among.gpus if gpu is None or candidate.pk == gpu.pk]
    if gpu is not None and not candidates:
        if gpu.present and not gpu.enabled:
            return cordoned.refusal(gpu)
        return NoCapacity(f"{_named(gpu)} takes nothing new: it is not there", gpu=gpu.uuid)
    leads = candidates if gpu is not None else [*candidates, *among.cordoned]
    if leads and (never := _never(needed, [*among.gpus, *among.cordoned], leads, width)) is not None:
        return never
    best = max(candidates, key=lambda candidate: among.free[candidate.pk], default=None)
    room = max(among.free[best.pk], 0) if best else 0
    where = f"{_named(best)} has {sizes.free(room)} free" if best else "there is no GPU that takes replicas"
    count = f" on each of {width} GPUs of one node" if width > 1 else ""
    words = f"{sizes.needed(needed)} are needed{count}, {where}"
    return NoCapacity(words, needed_bytes=needed, free_bytes=room, gpu=best.uuid if best else None)


def _most(gpu: GPU) -> int:
    """What may be promised of it when it is empty."""
    return gpu.memory_bytes - gpu.headroom_bytes


def _never(needed: int, gpus: list[GPU], leads: list[GPU], width: int) -> NeverFits | None:
    """Why waiting for room would not help; None where it fits once enough is free."""
    large = [gpu for gpu in gpus if _most(gpu) >= needed]
    there = Counter(gpu.node_id for gpu in large)
    if any(gpu in large and there[gpu.node_id] >= width for gpu in leads):
        return None
    best = max(leads, key=_most)
    facts = {"needed_bytes": needed, "free_bytes": _most(best), "gpu": best.uuid}
    if _most(best) < needed:
        largest = f"the largest, {_named(best)}," if len(leads) > 1 else _named(best)
        room = f"{sizes.free(_most(best))} when it is empty"
        return NeverFits(f"it can never fit: {sizes.needed(needed)} are needed, {largest} has {room}", **facts)
    words = (
        f"{sizes.needed(needed)} are needed on each of {width} GPUs of one node, {there[best.node_id]} are that large"
    )
    return NeverFits(f"it can never fit: {words}", **facts)


def reserve(replica: Replica, gpus: Iterable[GPU], wanted: Need, *, held: bool = True) -> None:
    """Count the bytes against GPUs that are locked in this transaction; unless `held`, once the replica claims them."""
    Reservation.objects.bulk_create(
        Reservation(
            replica=replica,
            gpu=gpu,
            awake_bytes=wanted.awake_bytes,
            asleep_bytes=wanted.asleep_bytes,
            held_bytes=wanted.awake_bytes if held else 0,
        )
        for gpu in gpus
    )


def lock(replicas: Iterable[Replica]) -> list[GPU]:
    """The GPUs of these replicas and of those that are to replace them, ours until the transaction ends.

    A copy turns with its source, and a second lock later would be out of order.
    """
    asked_for = list(replicas)
    ids = Reservation.objects.filter(Q(replica__in=asked_for) | Q(replica__replaces__in=asked_for)).values("gpu")
    return list(GPU.objects.select_for_update().filter(pk__in=ids).order_by("uuid"))


def hold_awake(replica: Replica) -> None:
    """Promise a sleeper or a stopped replica its full memory again. Raises NoCapacity."""
    check_room(replica)
    replica.reservations.update(held_bytes=F("awake_bytes"))


def check_room(replica: Replica) -> None:
    """Lock its GPUs. Raises NoCapacity unless every reservation of the replica can grow to its awake bytes."""
    free = free_bytes(lock([replica]), besides=replica)
    if replica.down and (closed := cordoned.kept_off(replica)) is not None:
        raise cordoned.refusal(closed)
    for reservation in replica.reservations.all():  # of its GPU no more is read than a refusal has to name
        more = reservation.awake_bytes - reservation.held_bytes
        if more > free[reservation.gpu_id]:
            room = f"{_named(reservation.gpu)} has {sizes.free(free[reservation.gpu_id])} free"
            raise NoCapacity(
                f"{sizes.needed(more)} more are needed, {room}",
                needed_bytes=more,
                free_bytes=max(free[reservation.gpu_id], 0),
                gpu=reservation.gpu.uuid,
            )


def room_comes(replica: Replica) -> bool:
    """Whether it finds room to be ready in, once its neighbours have arrived where they are headed."""
    free = free_later(GPU.objects.filter(reservations__replica=replica), besides=replica)
    return all(one.awake_bytes <= free[one.gpu_id] for one in replica.reservations.all())


def hold_measured(replica: Replica, measured: dict[str, int]) -> None:
    """An awake replica counts with at least what it was seen to need (`measured`, bytes by GPU uuid)."""
    for reservation in replica.reservations.select_related("gpu"):
        awake = max(reservation.awake_bytes, measured.get(reservation.gpu.uuid, 0))
        Reservation.objects.filter(pk=reservation.pk).update(held_bytes=awake, awake_bytes=awake)


def hold_asleep(replica: Replica, measured: dict[str, int]) -> None:
    """A sleeper counts with what it is seen to hold (`measured`, bytes by GPU uuid), else with the estimate."""
    for reservation in replica.reservations.select_related("gpu"):
        held = measured.get(reservation.gpu.uuid, reservation.asleep_bytes)
        Reservation.objects.filter(pk=reservation.pk).update(held_bytes=held, asleep_bytes=held)


def release(replica: Replica) -> None:
    """The engine is seen to be gone: nothing counts against the GPUs any more."""
    replica.reservations.update(held_bytes=0)


def check_host_budget(replica: Replica, *, level: int) -> None:
    """Raise HostMemoryShort where its node could not take it at level 1 even if no other model slept there.

    Else it may go to sleep: others give way if they are worth less, or it sleeps at level 2 itself.
    """
    node = replica.gpu.node
    alone = Host(node.name, node.sleep_budget_bytes)
    if level == 1 and (short := host_ram.shortage(alone, host_rows.copy_of(replica))):
        raise _host_memory_short(short, node.name)


def check_host_memory(replica: Replica, *, level: int, begun: bool = False) -> None:
    """Raise HostMemoryShort when the node's RAM cannot take one more sleeper of this level. Locks the node's row.

    With `begun`, others on their way to sleep count only once their engine was told to.
    """
    if level == 1:
        node = Node.objects.select_for_update().get(pk=replica.gpu.node_id)
        check_host(host_rows.read(node, begun=begun), replica)


def check_host(host: Host, row: Replica | Standing) -> None:
    """Raise HostMemoryShort when this node's RAM, as it was read, cannot take this one too at level 1."""
    short = host_ram.shortage(host, host_rows.copy_of(row), of=row.pk)
    if short is not None:
        raise _host_memory_short(short, host.name)


def _host_memory_short(short: Shortage, node: str) -> HostMemoryShort:
    return HostMemoryShort(
        f"{short.words(node)}; sleep at level 2, stop a sleeper, or raise SARDEENZ_SLEEP_RAM",
        needed_bytes=short.needed_bytes,
        free_bytes=max(short.free_bytes, 0),
        node=node,
    )
