"""Keep each deployment at its number of replicas. The rows say the number; nobody has to ask for it a second time.

Verbs bring their own deployment to its number, in their transaction. Here the control worker does the same for all
whose number is another by now, because somebody changed it, a replica went, or there was no room, and tells on the
deployment what keeps it from it.
"""

from functools import partial

from django.db import transaction
from django.db.models import Count, Q

from models_app import snapshot
from models_app.errors import DeploymentDeleting, NeverFits
from models_app.in_force import number_in_force
from models_app.lifecycle import verbs
from models_app.lifecycle.setbacks import Setbacks
from models_app.memory import placement
from models_app.models import Deployment, counted
from models_app.states import Goal, State
from sardeenz.errors import InvalidSpec

ACTOR = "control"


def bring_about(setbacks: Setbacks) -> None:
    """Look at every deployment that is not as it should be, the one of highest priority first."""
    for deployment_id in _amiss():
        whose = f"deployment={deployment_id}"
        if not setbacks.waits(whose):
            setbacks.attempt(whose, partial(_bring_about, deployment_id))


def _amiss() -> list[int]:
    wanted = Deployment.objects.filter(goal=Goal.READY, deleting=False).order_by(
        number_in_force("priority").desc(), "pk"
    )
    waits = Q(placed__state=State.STOPPED, placed__goal=Goal.READY, placed__reason__in=placement.FOR_WANT_OF_ROOM)
    deployments = wanted.annotate(
        there=Count("placed", filter=counted("placed__")), waiting=Count("placed", filter=counted("placed__") & waits)
    )
    return list(
        deployments.exclude(there=number_in_force("replicas"), waiting=0, message="").values_list("pk", flat=True)
    )


def _bring_about(deployment_id: int) -> bool:
    """Whether it is closer to its number than before."""
    try:
        with transaction.atomic():
            deployment = verbs.lock_deployment(deployment_id)
            before = deployment.seq, [replica.pk for replica in verbs.kept(deployment)]
            if deployment.deleting or deployment.goal != Goal.READY:
                return False
            verbs.bring_to_number(deployment, actor=ACTOR)
            after = deployment.seq, [replica.pk for replica in verbs.kept(deployment)]
            if before != after:
                snapshot.publish_deployment(deployment.pk, deployment.seq)
            return before != after
    except DeploymentDeleting:
        return False
    except (NeverFits, InvalidSpec) as error:
        with transaction.atomic():
            deployment = verbs.lock_deployment(deployment_id)
            verbs.say_unplaced(deployment, error, error.message, actor=ACTOR)
            snapshot.publish_deployment(deployment.pk, deployment.seq)
        return False
