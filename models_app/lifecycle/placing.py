"""The rows of replicas that are new: with their bytes reserved, or on GPUs where others have to make room first."""

from datetime import timedelta
from typing import Any, Protocol

from django.utils import timezone

from gpus.models import GPU
from models_app.errors import HostMemoryShort, NeverFits, NoCapacity
from models_app.lifecycle import launch
from models_app.lifecycle.transition import deadline_seconds, record, set_goal
from models_app.memory import placement, profiles
from models_app.memory.placement import Choice, Need
from models_app.models import Deployment, Replica
from models_app.spec import BY_SLEEP, BY_STOP
from models_app.states import Goal, State

ADOPTED = "adopted"
"""The reason on a replica that was made for an engine which no replica owned."""

GIVES_WAY = "gives_way"
"""The reason on a replica that makes room for its own replacement."""


class Placing(Protocol):
    """How a deployment comes to a new replica: `place`, or something that makes room first."""

    def __call__(
        self,
        deployment: Deployment,
        *,
        actor: str,
        gpu: GPU | None = None,
        replaces: Replica | None = None,
        anew: bool = False,
    ) -> Replica: ...


def place(
    deployment: Deployment,
    *,
    actor: str,
    gpu: GPU | None = None,
    replaces: Replica | None = None,
    anew: bool = False,
) -> Replica:
    """Choose GPUs, reserve the bytes, and make the row. A move keeps its source's specification unless `anew`."""
    wanted = needed(deployment, replaces, anew=anew)
    among = placement.candidates(deployment)
    chosen = placement.pick(among, wanted, deployment.tensor_parallel, gpu=gpu)
    sleeps = replaces is not None and replaces.goal == Goal.SLEEPING
    deadline_at = timezone.now() + timedelta(seconds=deadline_seconds(State.PENDING))
    row = {"goal": Goal.SLEEPING if sleeps else Goal.READY, "deadline_at": deadline_at, "reason": "placed"}
    replica = _create(deployment, chosen, wanted, row, replaces=replaces, anew=anew)
    placement.reserve(replica, chosen, wanted)
    words, inputs = placement.explain(among, wanted, chosen, gpu)
    record(replica, "", "move" if replaces is not None else "deploy", actor, words, inputs)
    return replica


def needed(deployment: Deployment, replaces: Replica | None = None, *, anew: bool = False) -> Need:
    """Bytes on each GPU of a replica, or of a copy of the one that it replaces."""
    return placement.need(deployment) if replaces is None or anew else placement.need_again(replaces, deployment)


def place_to_wait(
    deployment: Deployment,
    gpus: list[GPU],
    *,
    actor: str,
    reason: str = placement.CONSENTED,
    replaces: Replica | None = None,
    anew: bool = False,
) -> Replica:
    """A replica on locked GPUs that have no room for it yet: it has no engine and claims nothing meanwhile."""
    wanted = needed(deployment, replaces, anew=anew)
    row = {"state": State.STOPPED, "reason": reason, "restart_at": timezone.now()}
    replica = _create(deployment, gpus, wanted, row, replaces=replaces, anew=anew)
    placement.reserve(replica, gpus, wanted, held=False)
    record(replica, "", reason, actor)
    return replica


def place_around(deployment: Deployment, gpus: list[GPU], marker: str, port: int) -> Replica:
    """A replica of an engine that runs already on these locked GPUs; its worker finds it and sees whether it serves.

    Raises NoCapacity where what it may grow to is promised to others.
    """
    wanted = needed(deployment)
    placement.pick(Choice(gpus, placement.free_bytes(gpus), {}), wanted, len(gpus))
    number, _, generation = marker.partition(":")
    row = {"pk": int(number), "generation": int(generation), "port": port, "ipc_name": launch.segment_name(marker)}
    deadline_at = timezone.now() + timedelta(seconds=deadline_seconds(State.STARTING))
    row |= {"state": State.STARTING, "deadline_at": deadline_at, "reason": ADOPTED}
    replica = _create(deployment, gpus, wanted, row, replaces=None, anew=False)
    placement.reserve(replica, gpus, wanted)
    return replica


def _create(
    deployment: Deployment,
    gpus: list[GPU],
    wanted: Need,
    row: dict[str, Any],
    *,
    replaces: Replica | None,
    anew: bool,
) -> Replica:
    spec = replaces.spec if replaces is not None and not anew else launch.specification(deployment, wanted)
    known = profiles.known(spec, deployment.model.facts, gpus[0].name)
    return Replica.objects.create(
        deployment=deployment,
        gpu=gpus[0],
        sleep_level=replaces.sleep_level if replaces is not None else 1,
        replaces=replaces,
        profile=known,
        spec=spec | {"gpu_uuids": [gpu.uuid for gpu in gpus]},
        address=gpus[0].node.address,
        state_at=timezone.now(),
        **row,
    )


def place_in_two_phases(
    deployment: Deployment, source: Replica, *, actor: str, gpu: GPU | None = None, anew: bool = False
) -> Replica | None:
    """A replica that starts once its source has made room for it, while calls are held; None where that is not enough.

    The source sleeps, or where it cannot, its engine ends. It goes once the replacement serves, and comes back as it
    was where that fails or is cancelled (`removal.forget`).
    """
    for means in _means(source):
        chosen = _room(deployment, source, needed(deployment, source, anew=anew), means, gpu)
        if chosen:
            target = place_to_wait(deployment, chosen, actor=actor, replaces=source, anew=anew)
            _give_way(source, target, means, actor)
            return target
    return None


def two_phases_help(deployment: Deployment, source: Replica, *, gpu: GPU | None = None, anew: bool = False) -> bool:
    """Whether there would be room if the source made it."""
    wanted = needed(deployment, source, anew=anew)
    return any(_room(deployment, source, wanted, means, gpu) for means in _means(source))


def _means(source: Replica) -> list[str]:
    """How the source may make room, the gentlest first; nothing where it does not serve."""
    if (source.state, source.goal) != (State.READY, Goal.READY):
        return []
    if not source.sleep_enabled:
        return [BY_STOP]
    placement.lock_open()  # GPUs are locked before their node
    try:
        placement.check_host_memory(source, level=1)
    except HostMemoryShort:
        return [BY_STOP]
    return [BY_SLEEP, BY_STOP]


def _room(deployment: Deployment, source: Replica, wanted: Need, means: str, gpu: GPU | None) -> list[GPU]:
    """GPUs for the replacement, with what the source gives back; none where that does not suffice."""
    gpus = placement.lock_open()
    free = placement.free_bytes(gpus)
    for one in source.reservations.all():
        if one.gpu_id in free:
            free[one.gpu_id] += one.held_bytes - (one.asleep_bytes if means == BY_SLEEP else 0)
    try:
        return placement.pick(Choice(gpus, free, {}), wanted, deployment.tensor_parallel, gpu=gpu)
    except (NoCapacity, NeverFits):
        return []


def _give_way(source: Replica, target: Replica, means: str, actor: str) -> None:
    message = f"it makes room for {target}, which replaces it; calls are held until that serves"
    profile = source.profile | {"gives_way": means}
    set_goal(source, Goal.SLEEPING, reason=GIVES_WAY, actor=actor, message=message, sleep_level=1, profile=profile)
    claim = f"it starts once {source} has made room"
    set_goal(target, Goal.READY, reason=placement.CLAIMED, actor=actor, message=claim)
