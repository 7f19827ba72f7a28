"""Nudge a GPU's queue. The message carries no facts; the rows do."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from kombu.exceptions import OperationalError
from redis import RedisError

from sardeenz import redis
from sardeenz.celery import CONTROL_QUEUE, app, gpu_queue

RECONCILE = "models_app.reconcile_gpu"
SCALE = "models_app.lifecycle.scale"
POLICIES = "models_app.apply_policies"
_QUEUED_SECONDS = 5
_looked_after: ContextVar[str] = ContextVar("looked_after", default="")

logger = logging.getLogger(__name__)


@contextmanager
def looked_after(uuid: str) -> Iterator[None]:
    """Within this its worker looks again after each of its own steps, and its steps poke nobody for it."""
    token = _looked_after.set(uuid)
    try:
        yield
    finally:
        _looked_after.reset(token)


def poke(uuid: str) -> None:
    """Ask the worker of this GPU to look at its replicas now; at most one message waits in a queue.

    A broker that is away is logged, never raised: the next tick pokes again.
    """
    if uuid == _looked_after.get():
        return
    try:
        if _mark(uuid):
            app.send_task(RECONCILE, args=[uuid], queue=gpu_queue(uuid), expires=60)
    except (RedisError, OperationalError, OSError) as error:
        logger.warning("poke lost: gpu=%s error=%s", uuid, error)


def _mark(uuid: str) -> bool:
    """Whether no message waits in the queue yet; from now on one does."""
    mark = redis.key("poked", uuid)
    if redis.client().set(mark, "1", nx=True, ex=_QUEUED_SECONDS):
        return True
    if redis.client().ttl(mark) <= _QUEUED_SECONDS:
        return False
    redis.client().set(mark, "1", ex=_QUEUED_SECONDS)  # the clock was set back since: it would stay that much longer
    return True


def node_channel(node: str) -> str:
    """Where this node's loop hears that it is to look at its limits now."""
    return redis.key("node", node)


def poke_node(node: str) -> None:
    """Ask the loop of this node to look at its limits now; a word that is lost costs a second."""
    try:
        redis.client().publish(node_channel(node), "look")
    except (RedisError, OSError) as error:
        logger.warning("poke lost: node=%s error=%s", node, error)


def poke_control() -> None:
    """Ask the control worker to bring deployments to their numbers now; a lost message costs a tick."""
    try:
        app.send_task(SCALE, queue=CONTROL_QUEUE, expires=60)
    except (RedisError, OperationalError, OSError) as error:
        logger.warning("poke lost: queue=%s error=%s", CONTROL_QUEUE, error)


def poke_policies() -> None:
    """Ask the control worker to look at windows and overrides now; a lost message costs two seconds."""
    try:
        app.send_task(POLICIES, queue=CONTROL_QUEUE, expires=60)
    except (RedisError, OperationalError, OSError) as error:
        logger.warning("poke lost: queue=%s error=%s", CONTROL_QUEUE, error)


def received(uuid: str) -> None:
    """The message was taken from the queue: whatever changes from now on needs a new one."""
    try:
        redis.client().delete(redis.key("poked", uuid))
    except (RedisError, OSError) as error:
        logger.warning("poke mark not removed: gpu=%s error=%s", uuid, error)
