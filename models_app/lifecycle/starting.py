"""How a replica comes to serve: whom it waits for, what it takes, its engine's start, and what the load has taught.

Every step claims first and acts then. Whatever is lost in between is seen by the next look.
"""

import os
import socket
import time
from typing import Any

from django.conf import settings
from django.db import transaction as database
from django.utils import timezone

from gpus import kvcached, processes
from gpus.errors import SpawnFailed
from gpus.kvcached import Segment
from gpus.models import Node
from models_app.engines import command, logs
from models_app.engines.diagnose import KVCACHED_OFF
from models_app.errors import MemoryHeld, NoCapacity, NoPort
from models_app.lifecycle import kv_limits, launch, loads, verbs, waits
from models_app.lifecycle.next_step import Step
from models_app.lifecycle.observe import Sight
from models_app.lifecycle.placing import ADOPTED
from models_app.lifecycle.transition import WORKER, lock, note, transition
from models_app.memory import placement, profiles
from models_app.models import Deployment, MemoryProfile, Replica
from models_app.spec import Profile
from models_app.states import State

PROGRESS_SECONDS = 0.5


def again(sight: Sight, step: Step) -> bool:
    """To `pending`, with its bytes reserved. Whether there is room for it; without, it is put off."""
    replica = sight.replica
    try:
        if replica.state == State.STOPPED and replica.reason == placement.CLAIMED:
            with database.atomic():  # whoever makes room for it may not have gone yet
                placement.check_room(replica)
        if replica.state == State.STOPPED and replica.replaces is None and not replica.gives_way:
            verbs.start(replica, actor=WORKER)
            return True
        with database.atomic():
            lock(replica)
            placement.hold_awake(replica)
            fresh: dict[str, Any] = {"generation": replica.generation + 1, "restart_at": None}
            source = replica.replaces
            if replica.state == State.STOPPED and source is not None and not source.gives_way:
                fresh["goal"] = source.goal  # the copy ends where its source does
            transition(replica, State.PENDING, reason=step.reason, actor=WORKER, **fresh)
    except NoCapacity as error:
        waits.for_room(replica, error)
        return False
    return True


def load(sight: Sight, step: Step) -> bool:
    """Take a port and a segment's name, and start the engine. False while another load or a neighbour's memory is in
    the way. Raises NoPort.
    """
    replica = sight.replica
    try:
        with database.atomic():
            lock(replica)
            Node.objects.select_for_update().get(pk=replica.gpu.node_id)
            if loads.hold(replica) is not None:
                return False
            kv_limits.require(replica, sight.around)
            taken: dict[str, Any] = {"port": _port(replica), "phase": "", "progress_ratio": 0.0, "progress_at": None}
            taken["ipc_name"] = launch.segment_name(replica.marker)
            transition(replica, State.STARTING, reason=step.reason, actor=WORKER, **taken)
    except MemoryHeld as shortage:
        waits.for_memory(sight, shortage)
        return False
    _spawn(replica)
    return True


def _port(replica: Replica) -> int:
    taken = set(Replica.objects.filter(address=replica.address, port__isnull=False).values_list("port", flat=True))
    port = next((port for port in settings.ENGINE_PORTS if port not in taken and _free(replica.address, port)), None)
    if port is None:
        raise NoPort("every port of SARDEENZ_ENGINE_PORTS is taken; widen the range", node=settings.NODE)
    return int(port)


def _free(address: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


def _spawn(replica: Replica) -> None:
    """Start the engine in its own session; its readiness is observed, not awaited."""
    engine = launch.engine(replica, os.environ)
    environment, marker = engine.environment, engine.environment[processes.MARKER]
    kvcached.sweep(settings.SEGMENT_DIR, replica.ipc_name)
    try:
        processes.spawn(engine.argv, environment=environment, log_path=launch.log_path(replica), marker=marker)
    except SpawnFailed as error:
        with open(launch.log_path(replica), "a") as log:  # where the diagnosis, and whoever asks why, will look
            log.write(f"{error.message}\n")


def show_progress(sight: Sight) -> None:
    """Read the load's phase from its log now and then, and show it when it changed."""
    replica, progress_at, now = sight.replica, sight.remembered.progress_at, time.monotonic()
    if now - progress_at.get(sight.marker, -PROGRESS_SECONDS) < PROGRESS_SECONDS:
        return
    progress_at[sight.marker] = now
    progress = logs.progress(logs.tail(launch.log_path(replica)))
    if (progress.phase, progress.ratio) != (replica.phase, replica.progress_ratio):
        note(replica, phase=progress.phase, progress_ratio=progress.ratio, progress_at=timezone.now())


def loaded(sight: Sight, step: Step) -> bool:
    """It serves, with what its load has taught."""
    with database.atomic():
        transition(sight.replica, State.READY, reason=step.reason, actor=WORKER, **taught(sight))
    return True


def came_up(sight: Sight) -> dict[str, Any]:
    """What ends with a load and with a wake."""
    profile: Profile = {**sight.replica.profile}
    profile.pop("waits_for", None)
    profile.pop("short_starts", None)
    profile.pop("gives_way", None)
    changes: dict[str, Any] = {"ready_at": sight.around.now, "expected_at": None, "profile": profile}
    return changes | {"progress_ratio": None, "phase": "", "message": ""}


def taught(sight: Sight) -> dict[str, Any]:
    """What a load taught: bytes held, seconds taken, and the answer to compare later ones with."""
    replica, changes = sight.replica, came_up(sight)
    facts = logs.progress(logs.tail(launch.log_path(replica))).facts
    load_seconds = (sight.around.now - replica.state_at).total_seconds()
    profile: Profile = changes["profile"] | facts | {"held_bytes": sight.own_bytes}
    segment = kvcached.read(settings.SEGMENT_DIR, replica.ipc_name)
    if segment is not None:
        profile["kv_limit_bytes"] = segment.limit_bytes
    if replica.reason == ADOPTED:  # it has loaded long ago, and what it holds and may hold is not a new engine's
        profile["kv_limit_bytes"] = max(profile.get("kv_limit_bytes", 0), profile.get("kv_bytes", 0))
    else:
        profile["load_seconds"] = load_seconds
        _learn(replica, profile, segment)
    if segment is None and replica.spec["kvcached"] and replica.spec["kind"] != command.CPU:
        changes["message"] = KVCACHED_OFF.words  # installed amiss, it is off without a word
    canary = sight.answer.kept() if sight.answer is not None else None
    return changes | {"profile": profile, "canary": canary}


def _learn(replica: Replica, profile: Profile, segment: Segment | None) -> None:
    """Count the measured bytes, now and the next time the same thing is placed; simulated bytes teach nothing."""
    weights, own_bytes = profile.get("weights_bytes"), profile.get("held_bytes")
    if replica.gpu.simulated or weights is None or not own_bytes:
        return
    deployment = Deployment.objects.select_related("model", "runtime").get(pk=replica.deployment_id)
    floor = replica.spec["kv_floor_bytes"]
    # Without a segment the engine took its KV memory at the start, so what it holds has the floor in it.
    kv = segment.mapped_bytes if segment else min(floor, max(min(own_bytes.values()) - weights, 0))
    fixed = {uuid: size - kv for uuid, size in own_bytes.items()}
    profile["overhead_bytes"] = max(max(fixed.values()) - weights, 0)
    placement.hold_measured(replica, {uuid: size + floor for uuid, size in fixed.items()})
    guess = placement.estimated(deployment)
    expected = {"weights_bytes": guess.weights_bytes, "overhead_bytes": guess.overhead_bytes} if guess else {}
    MemoryProfile.objects.update_or_create(
        key=profiles.key(replica.spec, deployment.model.facts),
        gpu_name=replica.gpu.name,
        defaults={
            "about": profiles.about(replica.spec, deployment.model.facts),
            "estimated": expected,
            "weights_bytes": weights,
            "overhead_bytes": profile["overhead_bytes"],
            "graphs_bytes": profile.get("graphs_bytes"),
            "load_seconds": profile["load_seconds"],
        },
    )
