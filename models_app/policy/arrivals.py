"""A call for a model without an engine that has no room where it stands, or stands nowhere: where it comes to be.

It is placed where there is room, else where others make it by the rules of models that take turns. What those do not
allow yet is waited for as a replica that has no engine and claims nothing, so that it has its turn like a sleeper.
"""

from dataclasses import dataclass

from django.db import transaction

from gpus.models import GPU
from models_app.errors import DeploymentDeleting, NeverFits, NoCapacity
from models_app.lifecycle import verbs
from models_app.lifecycle.placing import place, place_to_wait
from models_app.memory import placement
from models_app.models import Deployment, Replica
from models_app.policy import eviction, verdicts, ways
from models_app.policy.eviction import Verdict
from models_app.policy.scene import Traffic
from models_app.policy.ways import Way
from models_app.states import Goal, State
from sardeenz.errors import InvalidSpec

_NOW = (Verdict.WAKE, Verdict.EVICT)
AT_ALL = (*_NOW, Verdict.WAIT)
"""Now, or once the rules allow it."""


class NobodyMakesRoom(NoCapacity):
    """Nobody may make room for it on any GPU."""

    def __init__(self, way: Way) -> None:
        short = verdicts.no_capacity(way.seen, eviction.words(way.seen, way.decision))
        super().__init__(short.message, **short.fields)
        self.way = way


def first(deployment_id: int, traffic: Traffic, actor: str) -> None:
    """For one of which nothing is placed. Raises NoCapacity where waiting would not help."""
    place = _Arrival(traffic, AT_ALL).place
    try:
        with transaction.atomic():
            deployment = verbs.lock_deployment(deployment_id)
            verbs.refuse_deleting(deployment)
            if not verbs.kept(deployment):
                place(deployment, actor=actor)
    except NobodyMakesRoom as refused:
        # Out of the transaction: an error would undo what is kept.
        verdicts.refuse(refused, refused.way.seen.wanted.name, refused.way.seen, refused.way.decision, actor)
    except (NeverFits, InvalidSpec) as error:
        raise NoCapacity(error.message, deployment=deployment_id) from error


def elsewhere(row: Replica, traffic: Traffic, actor: str, accepted: tuple[Verdict, ...] = _NOW) -> bool:
    """Another replica in its stead, where there is room or is to be made as `accepted`. Whether there is one."""
    if not rests(row) or not _other_gpus(row):
        return False
    try:
        with transaction.atomic():
            deployment = verbs.lock_deployment(row.deployment_id)
            now = deployment.placed.filter(pk=row.pk).first()
            if now is not None and rests(now):
                verbs.in_its_stead(deployment, now, actor, placing=_Arrival(traffic, accepted).place)
    except (NoCapacity, NeverFits, InvalidSpec, DeploymentDeleting):
        return False
    return True  # here, or by somebody who was faster


def rests(row: Replica) -> bool:
    """Whether nothing of it is anywhere, and nobody makes room for it: it may as well be on other GPUs."""
    at_rest = row.state == State.STOPPED and row.port is None and row.replaces_id is None and not row.gives_way
    return at_rest and (row.goal == Goal.SLEEPING or placement.waits_for_room(row))


def _other_gpus(row: Replica) -> bool:
    return GPU.objects.filter(enabled=True, present=True).exclude(uuid__in=row.gpu_uuids).exists()


@dataclass(frozen=True, slots=True)
class _Arrival:
    """How a call comes to a replica, as long as the rules answer it with one of these verdicts."""

    traffic: Traffic
    accepted: tuple[Verdict, ...]

    def place(
        self,
        deployment: Deployment,
        *,
        actor: str,
        gpu: GPU | None = None,
        replaces: Replica | None = None,
        anew: bool = False,
    ) -> Replica:
        """As `placing.place`, or on GPUs where others make room for it. Raises NoCapacity."""
        try:
            with transaction.atomic():
                return place(deployment, actor=actor, gpu=gpu, replaces=replaces, anew=anew)
        except NoCapacity:
            waiting = self.traffic.waiting.get(deployment.pk)
            best = ways.search(deployment, self.traffic, gpu=gpu, replaces=replaces, anew=anew, waiting=waiting)
            if best is None:
                raise
        if best.decision.verdict not in self.accepted:
            raise NobodyMakesRoom(best)
        target = place_to_wait(deployment, best.gpus, actor=actor, reason=NoCapacity.code, replaces=replaces, anew=anew)
        ways.take_turn(target, self.traffic, actor)
        target.refresh_from_db()
        return target
