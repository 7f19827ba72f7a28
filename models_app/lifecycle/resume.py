"""Before a node's workers start: what ended with Sardeenz, or with the host, did not fail.

An engine that we ended ourselves, or that ran on an earlier boot of the host, leaves a row that still claims it.
Whoever served loads again, first and with no restart counted. Whoever slept has no engine until somebody asks for it:
it is stopped, with the goal to sleep.
"""

import logging
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from gpus import ended, processes
from gpus.installation import installation_id
from gpus.models import Node
from models_app.errors import ReplicaMoved
from models_app.lifecycle import verbs
from models_app.memory import placement
from models_app.models import Replica
from models_app.states import LIVE, TRANSIENT, Goal, State

ACTOR = "start"
PLATFORM_STOPPED = "platform_stopped"
HOST_RESTARTED = "host_restarted"
_WHY = {PLATFORM_STOPPED: "Sardeenz was stopped", HOST_RESTARTED: "the host restarted"}

logger = logging.getLogger(__name__)


def resume() -> None:
    """Put this node's rows in order. The workers must be down, and the node's row not yet updated."""
    node = Node.objects.filter(name=settings.NODE).first()
    if node is not None:
        here = Replica.objects.filter(gpu__node=node).select_related("gpu", "deployment").order_by("pk")
        rebooted = node.boot_id != processes.boot_id()
        known, alive = ended.remembered(), processes.find_all(installation_id())
        for replica in here.filter(state__in=LIVE):
            if replica.marker not in alive and (rebooted or replica.marker in known):
                _put_down(replica, HOST_RESTARTED if rebooted else PLATFORM_STOPPED)
        for replica in here.filter(state__in=TRANSIENT, deadline_at__lt=timezone.now()):
            _renew(replica)
    ended.forget()


def _put_down(replica: Replica, reason: str) -> None:
    try:
        with transaction.atomic():
            if replica.goal == Goal.STOPPED:
                verbs.transition(replica, State.STOPPING, reason=reason, actor=ACTOR)
            elif replica.goal == Goal.SLEEPING or replica.state == State.SLEEPING:
                _rest(replica, reason)
            else:
                _load_again(replica, reason)
    except ReplicaMoved as error:
        logger.warning("left to its worker: replica=%s error=%s", replica.pk, error)


def _rest(replica: Replica, reason: str) -> None:
    placement.release(replica)
    words = f"Its engine ended when {_WHY[reason]}; it loads at its first request."
    _ended(replica, reason, words, goal=Goal.SLEEPING)


def _load_again(replica: Replica, reason: str) -> None:
    """Its bytes stay reserved: nobody takes the room of one that served."""
    words = f"Its engine ended when {_WHY[reason]}; it loads again."
    _ended(replica, reason, words, goal=Goal.READY)
    generation = replica.generation + 1
    verbs.transition(replica, State.PENDING, reason="start", actor=ACTOR, message=words, generation=generation)


def _ended(replica: Replica, reason: str, words: str, *, goal: Goal) -> None:
    gone: dict[str, Any] = {"port": None, "ipc_name": "", "phase": "", "progress_ratio": None}
    verbs.transition(replica, State.STOPPED, reason=reason, actor=ACTOR, message=words, goal=goal, **gone)


def _renew(replica: Replica) -> None:
    """Nobody could act while we were down, so no time is over yet."""
    seconds = verbs.deadline_seconds(State(replica.state))
    try:
        verbs.note(replica, deadline_at=timezone.now() + timedelta(seconds=seconds))
    except ReplicaMoved as error:
        logger.warning("deadline left as it is: replica=%s error=%s", replica.pk, error)
