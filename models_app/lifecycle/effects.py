"""What is done to an engine. Every effect may be repeated, and may be lost: the next look decides anew."""

import logging
import os
import socket
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from gpus import devices, kvcached, processes
from gpus.errors import SpawnFailed
from gpus.installation import engine_key, installation_id
from gpus.models import GPU
from models_app.engines import command, logs
from models_app.engines.diagnose import KVCACHED_OFF, OUT_OF_MEMORY, Diagnosis, diagnose
from models_app.errors import EngineTimeout, NoPort
from models_app.lifecycle import observe, verbs
from models_app.lifecycle.observe import START_INTERRUPTED, Remembered, World
from models_app.memory import placement
from models_app.models import Deployment, MemoryProfile, Replica
from models_app.states import LIVE, Goal, State

VERB_SECONDS = 10.0
SHORT_SECONDS = 5.0
LONGEST_SECONDS = 300
_PASSING = ("waits_for", "short_starts")  # of a replica's profile: they end once it is ready
SERVED_SECONDS = 10.0
"""An engine that was ready for so long did start well: that it ended says nothing against the next start."""

logger = logging.getLogger(__name__)


def prepare(replica: Replica) -> dict[str, Any]:
    """What a start books before the engine exists: a free port and a segment name of its own. Raises NoPort."""
    taken = set(Replica.objects.filter(address=replica.address, port__isnull=False).values_list("port", flat=True))
    port = next((port for port in settings.ENGINE_PORTS if port not in taken and _free(replica.address, port)), None)
    if port is None:
        raise NoPort("every port of SARDEENZ_ENGINE_PORTS is taken; widen the range", node=settings.NODE)
    name = f"{observe.segment_prefix()}{replica.pk}_{replica.generation}"
    return {"port": port, "ipc_name": name, "phase": "", "progress_ratio": 0.0, "progress_at": None}


def _free(address: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


def spawn(replica: Replica) -> None:
    """Start the engine in its own session; its readiness is observed, not awaited."""
    spec = replica.spec
    marker = processes.marker_of(installation_id(), replica.pk, replica.generation)
    launch = command.build(
        command.LaunchSpec(
            kind=spec["kind"],
            executable=spec["executable"],
            version=spec["version"],
            kvcached=spec["kvcached"],
            model_source=spec["model_source"],
            revision=spec["revision"],
            served_name=spec["served_name"],
            deployment_name=spec["deployment_name"],
            extra_args=spec["extra_args"],
            environment=spec["environment"],
            max_model_len=spec["max_model_len"],
            tensor_parallel=spec["tensor_parallel"],
            sleep_enabled=spec["sleep_enabled"],
            kv_cap_bytes=spec["kv_cap_bytes"],
            weights_bytes=spec["weights_bytes"],
            overhead_bytes=spec["overhead_bytes"],
            gpu_uuids=spec["gpu_uuids"],
            gpu_indices=_indices(spec["gpu_uuids"]),
            host=replica.address,
            port=int(replica.port or 0),
            api_key=engine_key(replica.pk, replica.generation),
            ipc_name=replica.ipc_name,
            marker=marker,
            simulated_dir=str(settings.SIMULATED_DIR),
            segment_dir=str(settings.SEGMENT_DIR),
            simulated_gpus=devices.simulation(settings.GPUS) or "",
            node=settings.NODE,
            inherited=os.environ,
        )
    )
    kvcached.sweep(settings.SEGMENT_DIR, replica.ipc_name)
    try:
        processes.spawn(launch.argv, environment=launch.environment, log_path=log_path(replica), marker=marker)
    except SpawnFailed as error:
        with open(log_path(replica), "a") as log:  # where the diagnosis, and whoever asks why, will look
            log.write(f"{error.message}\n")


def _indices(uuids: list[str]) -> list[int]:
    """The driver's numbers of the GPUs, for the versions of vLLM that cannot read UUIDs."""
    numbers = dict(GPU.objects.filter(uuid__in=uuids).values_list("uuid", "index"))
    return [numbers[uuid] for uuid in uuids if uuid in numbers]


def log_path(replica: Replica) -> Path:
    """Where this start of the replica writes."""
    return logs.path(replica.pk, replica.generation, replica.spec["deployment_name"])


def sleep(replica: Replica) -> None:
    """Send the engine to sleep. The prefix cache goes with it; a slow engine goes on after we hang up."""
    verbs.begin_sleep(replica)
    started = time.monotonic()
    try:
        observe.client(replica).sleep(replica.sleep_level, mode="wait", timeout_seconds=VERB_SECONDS)
        _measured(replica, sleep_seconds=time.monotonic() - started)
    except EngineTimeout:
        logger.info("sleep goes on: replica=%s", replica.pk)


def wake(replica: Replica) -> None:
    """Wake the engine; at level 2 its weights are read again first, and hanging up would lose the steps after that."""
    started = time.monotonic()
    patience = VERB_SECONDS if replica.sleep_level < 2 else settings.WAKE_SECONDS
    try:
        observe.client(replica).wake(replica.sleep_level, timeout_seconds=patience)
        _measured(replica, wake_seconds=time.monotonic() - started)
    except EngineTimeout:
        logger.info("wake goes on: replica=%s", replica.pk)


def _measured(replica: Replica, **seconds: float) -> None:
    verbs.note(replica, profile=replica.profile | seconds)


def terminate(replica: Replica, around: World, remembered: Remembered) -> None:
    """Ask the engine to end, once; it finishes what it serves within its own grace time."""
    if engine := around.engines.get(replica.marker):
        remembered.terminated.add(replica.marker)
        processes.terminate(engine)


def kill(replica: Replica, around: World) -> None:
    """End every process of the engine now."""
    if engine := around.engines.get(replica.marker):
        processes.kill(engine)


def release(replica: Replica, remembered: Remembered) -> None:
    """The engine is gone: its bytes, port, segment and sockets are free again.

    One that never started has no segment. The rows come first: what is left of a segment then is swept as nobody's.
    """
    ipc_name = replica.ipc_name
    remembered.terminated.discard(replica.marker)
    remembered.pids.pop(replica.marker, None)
    remembered.doubts.pop(replica.marker, None)
    with transaction.atomic():
        placement.release(replica)
        verbs.note(replica, port=None, ipc_name="", phase="", progress_ratio=None)
    if ipc_name:
        kvcached.sweep(settings.SEGMENT_DIR, ipc_name)


def failure(replica: Replica, reason: str, remembered: Remembered) -> Diagnosis:
    """Why it failed, in words, from the end of its log and its exit code."""
    pids = remembered.pids.get(replica.marker, ())
    code = next((remembered.exit_codes[pid] for pid in pids if pid in remembered.exit_codes), None)
    if reason == "engine_exited" and replica.state == State.STARTING and not log_path(replica).exists():
        return Diagnosis(
            START_INTERRUPTED, "Its worker ended before it could start the engine.", "It is started again."
        )
    if replica.state == State.PENDING:
        return Diagnosis(reason, f"It could not begin to load in time: it {replica.message or 'waited'}.", _AGAIN)
    if reason in _EVIDENCE:
        found = diagnose(logs.tail(log_path(replica)), code)
        if found.code in OUT_OF_MEMORY:
            return found
        said = "" if found.code == "engine_exited" else f"{found.message} {found.hint}"
        return Diagnosis(reason, _EVIDENCE[reason], said.strip())
    if reason not in ("engine_exited", "start_timeout"):
        return Diagnosis(reason, _WORDS.get(reason, reason), "")
    return diagnose(logs.tail(log_path(replica)), code)


_EVIDENCE = {
    "server_gone": "The engine's server process ended while others of its processes lived on; they were ended too.",
    observe.CONNECTION_REFUSED: "The engine's process lived but accepted no connection any more; it was ended.",
    observe.UNHEALTHY: "The engine kept saying that it is not healthy; it was ended.",
}


_AGAIN = "It is tried again."
_WORDS = {
    "canary_mismatch": "after the wake the engine answered its test prompt differently; it is started afresh",
    "wake_timeout": "the engine did not wake in time; it is started afresh",
}


def backoff(replica: Replica, *, permanent: bool) -> dict[str, Any]:
    """When a failed replica starts again: 1, 2, 4 ... 300 seconds; never once so many starts in a row came to nothing.

    To be called before its state changes: an older engine's time of serving excuses no start that fails.
    """
    now = timezone.now()
    up_since = replica.ready_at if replica.state in LIVE - {State.STARTING} else None
    served = up_since is not None and (now - up_since).total_seconds() >= SERVED_SECONDS
    restarts = (0 if served else replica.restarts) + 1
    if permanent or restarts > settings.RESTART_LIMIT:
        return {"restarts": restarts, "restart_at": None}
    seconds = min(2 ** (restarts - 1), LONGEST_SECONDS)
    return {"restarts": restarts, "restart_at": now + timedelta(seconds=seconds)}


def short_of_memory(replica: Replica) -> dict[str, Any]:
    """When one whose memory a neighbour took starts again: 5, 10 ... 300 seconds, and no restart is counted."""
    before = int(replica.profile.get("short_starts") or 0)
    seconds = min(SHORT_SECONDS * 2**before, LONGEST_SECONDS)
    profile = replica.profile | {"short_starts": before + 1}
    return {"restart_at": timezone.now() + timedelta(seconds=seconds), "profile": profile}


def became_ready(replica: Replica, around: World) -> dict[str, Any]:
    """What a load or a wake taught us: bytes held, seconds taken, and the answer to compare later ones with."""
    changes: dict[str, Any] = {"ready_at": around.now, "expected_at": None}
    changes |= {"progress_ratio": None, "phase": "", "message": ""}
    profile = {name: value for name, value in replica.profile.items() if name not in _PASSING}
    if replica.state != State.STARTING:
        return changes | {"profile": profile}
    facts = logs.progress(logs.tail(log_path(replica))).facts
    held = observe.own_bytes(replica, around)
    load_seconds = (around.now - replica.state_at).total_seconds()
    profile |= dict(facts) | {"held_bytes": held, "load_seconds": load_seconds}
    if segment := kvcached.read(settings.SEGMENT_DIR, replica.ipc_name):
        profile["kv_limit_bytes"] = segment.limit_bytes
    _learn(replica, profile)
    if not _elastic(replica):
        changes["message"] = f"{KVCACHED_OFF.message} {KVCACHED_OFF.hint}"
    return changes | {"profile": profile, "canary": replica.canary}


def _elastic(replica: Replica) -> bool:
    """Whether an engine that was meant to have kvcached has it: installed amiss, it stays off without a word."""
    if not replica.spec["kvcached"] or replica.spec["kind"] == command.CPU:
        return True
    return kvcached.read(settings.SEGMENT_DIR, replica.ipc_name) is not None


def _learn(replica: Replica, profile: dict[str, Any]) -> None:
    """Count the measured bytes, now and the next time the same thing is placed; simulated bytes teach nothing."""
    weights, held = profile.get("weights_bytes"), profile.get("held_bytes")
    if replica.gpu.simulated or not isinstance(weights, int) or not isinstance(held, dict) or not held:
        return
    deployment = Deployment.objects.select_related("model", "runtime").get(pk=replica.deployment_id)
    segment, floor = kvcached.read(settings.SEGMENT_DIR, replica.ipc_name), replica.spec["kv_floor_bytes"]
    # Without a segment the engine took its KV memory at the start, so what it holds has the floor in it.
    kv = segment.mapped_bytes if segment else min(floor, max(min(held.values()) - weights, 0))
    fixed = {uuid: size - kv for uuid, size in held.items()}
    profile["overhead_bytes"] = max(max(fixed.values()) - weights, 0)
    placement.hold_measured(replica, {uuid: size + floor for uuid, size in fixed.items()})
    MemoryProfile.objects.update_or_create(
        key=placement.profile_key(deployment),
        defaults={
            "about": placement.profile_about(deployment),
            "weights_bytes": weights,
            "overhead_bytes": profile["overhead_bytes"],
            "load_seconds": profile["load_seconds"],
        },
    )


def show_progress(replica: Replica) -> None:
    """Read the load's phase from its log and show it when it changed."""
    progress = logs.progress(logs.tail(log_path(replica)))
    if (progress.phase, progress.ratio) != (replica.phase, replica.progress_ratio):
        verbs.note(replica, phase=progress.phase, progress_ratio=progress.ratio, progress_at=timezone.now())


def retire(replica: Replica) -> None:
    """Its replacement serves everywhere: drain, stop and go."""
    verbs.set_goal(replica, Goal.STOPPED, reason="moved", actor="move", disposable=True)


def give_up_sleep(replica: Replica, message: str = "") -> None:
    """Requests ran longer than the drain may last, or the engine did not fall asleep: stay awake and say so."""
    message = message or _NOT_ASLEEP.get(replica.reason, _NOT_ASLEEP["drain_timeout"])
    verbs.set_goal(replica, Goal.READY, reason="sleep_given_up", actor="worker", message=message)


_NOT_ASLEEP = {
    "drain_timeout": "requests were still running when the drain's time was over; it stays awake",
    "sleep_timeout": "the engine did not fall asleep in time (SARDEENZ_SLEEP_SECONDS); it stays awake",
}


def abandon(replica: Replica) -> None:
    """A move's target failed: it goes, its source serves on and says why."""
    why = f"the move failed: {replica.message or replica.reason}"
    source = replica.replaces
    verbs.set_goal(replica, Goal.STOPPED, reason="move_failed", actor="move", message=replica.message, disposable=True)
    if source is not None:
        verbs.note(source, message=why)


def sweep(known_names: set[str]) -> None:
    """Remove segments and sockets of this installation that no replica owns."""
    for segment in kvcached.read_all(settings.SEGMENT_DIR, observe.segment_prefix()):
        if segment.ipc_name not in known_names:
            kvcached.sweep(settings.SEGMENT_DIR, segment.ipc_name)
