"""The end of a row whose engine is gone, with an event for every other row that the database changes with it."""

from functools import partial

from django.db import transaction

from models_app import snapshot
from models_app.errors import DeploymentDeleting
from models_app.lifecycle import verbs
from models_app.memory import placement
from models_app.models import Replica
from models_app.states import Goal, State
from sardeenz import events


@transaction.atomic
def forget(replica: Replica) -> None:
    """Remove the row of a stopped, disposable replica, and a deployment that waited for it.

    The other side of its move becomes an ordinary replica, and is shown as one. Raises ReplicaMoved.
    """
    try:
        deployment = verbs.lock_deployment(replica.deployment_id)
    except DeploymentDeleting:
        return  # and this row with it
    for target in replica.replacements.select_related("gpu"):
        verbs.note(target, replaces=None)
    gone = Replica.objects.filter(pk=replica.pk, state=State.STOPPED, goal=Goal.STOPPED, disposable=True).delete()[0]
    if not gone:
        return
    event = {"kind": "replica", "id": replica.pk, "seq": replica.seq + 1, "row": None}
    transaction.on_commit(partial(events.publish, events.LIFECYCLE, event))
    source = replica.replaces
    if source is not None and not source.disposable:
        _serve_on(source)
    seq = deployment.seq + 1
    if deployment.deleting and not deployment.placed.exists():
        deployment.delete()
    snapshot.publish_deployment(replica.deployment_id, seq)


def _serve_on(source: Replica) -> None:
    """Its replacement is gone. Where it had made room for it, it comes back with the settings that it had.

    Somebody else may have been promised the place since: then it sleeps on, and a call wakes it by the common rules.
    """
    if not source.gives_way or source.goal != Goal.SLEEPING:
        verbs.note(source)
        return
    placement.lock([source])
    if placement.room_comes(source):
        verbs.set_goal(source, Goal.READY, reason=placement.CLAIMED, actor="move", message=source.message)
    else:
        verbs.note(source, message="others were promised its memory meanwhile; it comes back at its next request")
