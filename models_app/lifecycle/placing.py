"""The rows of replicas that are new: with their bytes reserved, or on GPUs where others have to make room first."""

from datetime import timedelta
from typing import Any, Protocol

from django.utils import timezone

from gpus.models import GPU
from models_app.lifecycle import launch
from models_app.lifecycle.transition import deadline_seconds, record
from models_app.memory import placement, profiles
from models_app.memory.placement import Need
from models_app.models import Deployment, Replica
from models_app.states import Goal, State


class Placing(Protocol):
    """How a deployment comes to a new replica: `place`, or something that makes room first."""

    def __call__(
        self, deployment: Deployment, *, actor: str, gpu: GPU | None = None, replaces: Replica | None = None
    ) -> Replica: ...


def place(
    deployment: Deployment,
    *,
    actor: str,
    gpu: GPU | None = None,
    replaces: Replica | None = None,
) -> Replica:
    """Choose GPUs, reserve the bytes, and make the row. A move keeps the launch specification of its source."""
    wanted = needed(deployment, replaces)
    among = placement.candidates(deployment)
    chosen = placement.pick(among, wanted, deployment.tensor_parallel, gpu=gpu)
    sleeps = replaces is not None and replaces.goal == Goal.SLEEPING
    deadline_at = timezone.now() + timedelta(seconds=deadline_seconds(State.PENDING))
    row = {"goal": Goal.SLEEPING if sleeps else Goal.READY, "deadline_at": deadline_at, "reason": "placed"}
    replica = _create(deployment, chosen, wanted, replaces, row)
    placement.reserve(replica, chosen, wanted)
    words, inputs = placement.explain(among, wanted, chosen, gpu)
    record(replica, "", "move" if replaces is not None else "deploy", actor, words, inputs)
    return replica


def needed(deployment: Deployment, replaces: Replica | None = None) -> Need:
    """Bytes on each GPU of a replica, or of a copy of the one that it replaces."""
    return placement.need(deployment) if replaces is None else placement.need_again(replaces, deployment)


def place_to_wait(deployment: Deployment, gpus: list[GPU], *, actor: str, replaces: Replica | None = None) -> Replica:
    """A replica on locked GPUs that have no room for it yet: it has no engine and claims nothing meanwhile."""
    wanted = needed(deployment, replaces)
    row = {"state": State.STOPPED, "reason": placement.CONSENTED, "restart_at": timezone.now()}
    replica = _create(deployment, gpus, wanted, replaces, row)
    placement.reserve(replica, gpus, wanted, held=False)
    record(replica, "", placement.CONSENTED, actor)
    return replica


def _create(
    deployment: Deployment, gpus: list[GPU], wanted: Need, replaces: Replica | None, row: dict[str, Any]
) -> Replica:
    spec = replaces.spec if replaces is not None else launch.specification(deployment, wanted)
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
