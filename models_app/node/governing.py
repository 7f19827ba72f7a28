"""The governor at work: once a second it reads the node, decides, writes limits, and has idle engines shrink.

The limits of a segment are written here and nowhere else. Which limit is right follows from rows and devices at every
look, so a loop that was killed leaves nothing behind: the next one lowers on, or restores. While none runs, limits stay
as they are; whoever lacks memory waits until the eviction rules find it some.
"""

import logging
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

from django.conf import settings
from django.db import DatabaseError, close_old_connections, connection
from django.utils import timezone
from redis import RedisError
from redis.client import PubSub

from gpus import kvcached, processes
from gpus.installation import installation_id
from gpus.models import GPU
from models_app.decisions import keep_all
from models_app.engines.metrics import EngineMetrics
from models_app.errors import ReplicaMoved
from models_app.lifecycle import kv_limits, observe, queues
from models_app.lifecycle.kv_limits import Rows
from models_app.lifecycle.observe import World
from models_app.lifecycle.setbacks import Setbacks
from models_app.memory import governor, watermark
from models_app.memory.governor import Decision, Wants, Wish
from models_app.memory.reclaim import Neighbour, Scene
from models_app.memory.watermark import Lacks
from models_app.models import Replica
from models_app.node.limit_changes import LimitChanges
from models_app.policy import relief
from models_app.states import State
from sardeenz import redis
from sardeenz.errors import DeviceError, EngineError

PERIOD_SECONDS = 1.0
RESET_SECONDS = 2.0

logger = logging.getLogger(__name__)


class Governing:
    """What the governor remembers between seconds. `decisions` are by marker; losing all of it costs ten seconds."""

    def __init__(self) -> None:
        self.decisions: dict[str, Decision] = {}
        self.seen: Mapping[str, EngineMetrics] = {}
        """What each engine last said of itself, by marker; the loop that scrapes them sets it."""
        self._rows = Rows()
        self._wants = Wants()
        self._changes = LimitChanges()
        self._lacks = Lacks()
        self._reset_at: dict[int, float] = {}
        self._shrinking: dict[int, Future[None]] = {}
        self._hands = ThreadPoolExecutor(4, "shrink")
        self._setbacks = Setbacks()
        self._words: PubSub | None = None

    def keep(self, stop: threading.Event) -> None:
        """Settle once a second, and when a worker asks for it. Whatever fails is told, and tried again."""
        while not stop.is_set():
            self._setbacks.attempt("kv limits", self._settle_node)
            self._wait(stop)
        connection.close()
        self._hands.shutdown(cancel_futures=True)

    def _settle_node(self) -> bool:
        close_old_connections()
        if self.seen:  # else no engine of this installation lives here, whoever's segments lie about
            self.settle()
        else:
            self.decisions = {}
        return True

    def settle(self, now: float | None = None) -> None:
        """One second's decision, written to every segment where it differs; engines above their limit shrink."""
        now = time.monotonic() if now is None else now
        uuids = list(GPU.objects.filter(node__name=settings.NODE, present=True).values_list("uuid", flat=True))
        readings, placed = observe.readings(uuids), self._rows.read(uuids)
        around = World(processes.find_all(installation_id()), timezone.now())
        scene = kv_limits.scene(readings, placed, around)
        rows, neighbours = {row.pk: row for row in placed}, {one.id: one for one in scene.neighbours}
        wishes = {number: self._wish(rows[number], one, now) for number, one in neighbours.items()}
        decided = governor.decide(scene, wishes)
        written = [number for number, one in neighbours.items() if self._apply(rows[number], one, decided[number])]
        self.decisions = {rows[number].marker: decided[number] for number in neighbours}
        self._wants.forget_all_but(neighbours)
        self._changes.forget_all_but(neighbours)
        self._relieve(scene, rows, decided, now)
        told = [self._changes.news(rows[number], scene, decided, wishes, now) for number in written]
        if news := [one for one in told if one is not None]:
            keep_all(news)

    def _relieve(self, scene: Scene, rows: Mapping[int, Replica], decided: Mapping[int, Decision], now: float) -> None:
        """Where limits cannot give an engine at work what it was promised, the eviction rules are asked for a sleep."""
        lacks = {uuid: watermark.lacking(scene, uuid, decided) for uuid in scene.devices}
        for uuid in self._lacks.due(lacks, now):
            wanting = [rows[one.id] for one in scene.on(uuid) if one.id in rows and _wants(one, decided)]
            first = max(wanting, key=lambda row: row.deployment.in_force.priority)
            with suppress(ReplicaMoved):  # somebody changes it right now; the next second looks again
                if relief.relieve(first, uuid, lacks[uuid]):
                    self._lacks.asked(uuid, now)

    def _wish(self, row: Replica, one: Neighbour, now: float) -> Wish:
        seen = self.seen.get(row.marker)
        running, waiting = (seen["running"], seen["waiting"]) if seen is not None else (None, None)
        wanted = self._wants.bytes(one, running=running, waiting=waiting, now=now)
        in_force = row.deployment.in_force
        return Wish(wanted, in_force.kv_weight, in_force.priority)

    def _apply(self, row: Replica, one: Neighbour, decision: Decision) -> bool:
        """Whether the limit was written, for it differs by what matters; an idle engine shrinks to it."""
        matters = governor.matters(one, decision)
        try:
            if matters:
                kvcached.set_limit(settings.SEGMENT_DIR, row.ipc_name, decision.limit_bytes)
        except DeviceError as error:
            logger.info("limit not written: replica=%s code=%s error=%s", row.pk, error.code, error)
            return False
        if one.mapped_bytes > decision.limit_bytes and row.state == State.READY:
            self._have_shrink(row)
        return matters

    def _have_shrink(self, row: Replica) -> None:
        """Ask it in a thread of its own: an engine that does not answer holds up no other's limit."""
        now, before = time.monotonic(), self._shrinking.get(row.pk)
        if now - self._reset_at.get(row.pk, -RESET_SECONDS) < RESET_SECONDS:
            return
        if before is None or before.done():
            self._reset_at[row.pk] = now
            self._shrinking[row.pk] = self._hands.submit(_shrink, row)

    def finish(self) -> None:
        """Wait for engines that are asked to shrink."""
        for asked in self._shrinking.values():
            asked.result()

    def _wait(self, stop: threading.Event) -> None:
        """Until a worker asks, or a second has passed."""
        try:
            if self._words is None:
                self._words = redis.client().pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
                self._words.subscribe(queues.node_channel(settings.NODE))
            until = time.monotonic() + PERIOD_SECONDS
            while not stop.is_set() and (left := until - time.monotonic()) > 0:
                if self._words.get_message(timeout=left) is not None:
                    return
        except (RedisError, OSError):
            self._words = None
            stop.wait(PERIOD_SECONDS)


def _wants(one: Neighbour, decided: Mapping[int, Decision]) -> bool:
    return one.id in decided and decided[one.id].wanted_bytes > one.mapped_bytes


def _shrink(row: Replica) -> None:
    """An idle engine shrinks once its prefix cache is empty and it makes one more token; a busy one as it ends."""
    engine = observe.client(row)
    try:
        gauges = engine.gauges()
        if gauges.running == 0 and gauges.waiting == 0:
            engine.reset_prefix_cache()
            answer = observe.one_token(engine, row)
            row.count_own_tokens(answer.prompt_tokens, answer.completion_tokens)
    except (DeviceError, EngineError, DatabaseError) as error:
        logger.info("not shrunk: replica=%s error=%s", row.pk, error)
    finally:
        connection.close()
