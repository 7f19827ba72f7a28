"""The verbs over all replicas of a deployment at once, as the API and the admin offer them: all or none."""

from collections.abc import Callable
from typing import Any

from django.db import transaction

from gpus.models import GPU
from models_app import snapshot
from models_app.catalogue import sources
from models_app.errors import IllegalTransition
from models_app.lifecycle import verbs
from models_app.lifecycle.placing import Placing, place
from models_app.models import Deployment, Replica
from models_app.states import Goal

Verb = Callable[..., Replica]


@transaction.atomic
def deploy(deployment: Deployment, *, actor: str, gpu: GPU | None = None, placing: Placing = place) -> None:
    """Bring the deployment to its number of replicas, and keep it there; what finds no room waits for it."""
    _look_at_the_files(deployment)
    verbs.deploy(deployment, actor=actor, gpu=gpu, placing=placing)
    snapshot.publish_deployment(deployment.pk, deployment.seq)


@transaction.atomic
def start(deployment: Deployment, *, actor: str, placing: Placing = place, waking: Verb = verbs.wake) -> None:
    """As deploy, and replicas that sleep are woken."""
    _look_at_the_files(deployment)
    for replica in verbs.deploy(deployment, actor=actor, placing=placing):
        if replica.goal == Goal.SLEEPING:
            waking(replica, actor=actor)
    snapshot.publish_deployment(deployment.pk, deployment.seq)


@transaction.atomic
def stop(deployment: Deployment, *, actor: str) -> None:
    """Stop every replica and place none; the intent stays. Stopping twice is stopping once."""
    locked = verbs.lock_deployment(deployment.pk)
    verbs.want(locked, Goal.STOPPED)
    for replica in verbs.kept(locked):
        verbs.stop(replica, actor=actor)
    snapshot.publish_deployment(locked.pk, locked.seq)


@transaction.atomic
def roll_out(deployment: Deployment, *, actor: str, placing: Placing = place) -> None:
    """Give every replica the deployment's present settings, each beside the one that it replaces."""
    locked = verbs.lock_deployment(deployment.pk)
    verbs.refuse_deleting(locked)
    for replica in verbs.kept(locked):
        verbs.renew(replica, actor=actor, placing=placing)
    snapshot.publish_deployment(locked.pk, locked.seq)


def sleep(deployment: Deployment, *, actor: str, level: int = 1) -> None:
    """Put every ready replica to sleep."""
    _each(deployment, (Goal.READY, Goal.SLEEPING), Goal.SLEEPING, verbs.sleep, actor=actor, level=level)


def wake(deployment: Deployment, *, actor: str, waking: Verb = verbs.wake) -> None:
    """Wake every replica that sleeps."""
    _each(deployment, (Goal.SLEEPING,), Goal.READY, waking, actor=actor)


def delete(deployment: Deployment, *, actor: str) -> None:
    """Stop every replica; the deployment goes with its last engine."""
    number, seq = deployment.pk, deployment.seq + 1
    verbs.delete(deployment, actor=actor)
    snapshot.publish_deployment(number, seq)


def _look_at_the_files(deployment: Deployment) -> None:
    """Before something is placed: a folder may have changed, or lost a shard, since the model was registered."""
    if len(verbs.kept(deployment)) < deployment.in_force.replicas:
        sources.read_again(deployment.model)


@transaction.atomic
def _each(deployment: Deployment, headed: tuple[Goal, ...], to: Goal, verb: Verb, **how: Any) -> None:
    """The verb for every replica headed for one of `headed`. Raises IllegalTransition when none is, nor at `to`."""
    locked = verbs.lock_deployment(deployment.pk)
    verbs.refuse_deleting(locked)
    placed = verbs.kept(locked)
    if not any(replica.goal in (*headed, to) for replica in placed):
        there = ", ".join(sorted({str(replica.state) for replica in placed})) or "none placed"
        raise IllegalTransition(f"no replica of {deployment} can be {to}: {there}", state=there, wanted=str(to))
    for replica in placed:
        if replica.goal in headed:
            verb(replica, **how)
