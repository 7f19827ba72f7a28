"""How a replica ends: stopped, failed, replaced by its move's target, and what is given back once its engine is gone.

Every step claims first and acts then. Whatever is lost in between is seen by the next look.
"""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction as database
from django.utils import timezone

from gpus import kvcached, processes
from models_app.engines import logs
from models_app.engines.diagnose import OUT_OF_MEMORY, Diagnosis, diagnose
from models_app.lifecycle import kv_limits, launch, observe, waits
from models_app.lifecycle.next_step import Effect, Step
from models_app.lifecycle.observe import START_INTERRUPTED, Sight
from models_app.lifecycle.transition import WORKER, note, set_goal, transition
from models_app.memory import placement, reclaim
from models_app.models import Replica
from models_app.states import LIVE, Goal, State

SHORT_SECONDS = 5.0
LONGEST_SECONDS = 300
SERVED_SECONDS = 10.0
"""An engine that was ready for so long did start well: that it ended says nothing against the next start."""
_EVIDENCE = {
    "server_gone": "The engine's server process ended while others of its processes lived on; they were ended too.",
    observe.CONNECTION_REFUSED: "The engine's process lived but accepted no connection any more; it was ended.",
    observe.UNHEALTHY: "The engine kept saying that it is not healthy; it was ended.",
}
_AGAIN = "It is tried again."
_WORDS = {
    "canary_mismatch": "After the wake the engine answered its test prompt differently: {difference}. It is started "
    "afresh.",
    "wake_timeout": "the engine did not wake in time; it is started afresh",
}


def stop(sight: Sight, step: Step) -> bool:
    """Out of use for good, and its engine is asked to end where one runs."""
    transition(sight.replica, State.STOPPING, reason=step.reason, actor=WORKER)
    return terminate(sight, step) if step.effect is Effect.TERMINATE else True


def terminate(sight: Sight, step: Step) -> bool:
    """Ask the engine to end, once; it finishes what it serves within its own grace time."""
    if sight.process is not None:
        sight.remembered.terminated.add(sight.marker)
        processes.terminate(sight.process)
    return True


def kill(sight: Sight, step: Step) -> bool:
    """End every process of the engine now."""
    if sight.process is not None:
        processes.kill(sight.process)
    return True


def release(sight: Sight, step: Step) -> bool:
    """The engine is gone: its bytes, port, segment and sockets are free again.

    One that never started has no segment. The rows come first: what is left of a segment then is swept as nobody's.
    """
    replica, remembered, ipc_name = sight.replica, sight.remembered, sight.replica.ipc_name
    if step.to is not None:
        transition(replica, State.STOPPED, reason=step.reason, actor=WORKER, **_at_rest(replica))
    remembered.terminated.discard(sight.marker)
    remembered.pids.pop(sight.marker, None)
    remembered.doubts.pop(sight.marker, None)
    with database.atomic():
        placement.release(replica)
        note(replica, port=None, ipc_name="", phase="", progress_ratio=None)
    if ipc_name:
        kvcached.sweep(settings.SEGMENT_DIR, ipc_name)
    return True


def _at_rest(replica: Replica) -> dict[str, Any]:
    """What changes with a stop that is not for good."""
    if replica.restarting:
        return {"restarting": False, "goal": Goal.READY}
    if replica.goal == Goal.SLEEPING:
        return {"message": "It sleeps without an engine; it loads at its first request."}
    return {}


def fail(sight: Sight, step: Step) -> bool:
    """It failed, for what its log and its exit code tell; what is left of its engine is ended."""
    failed(sight, why(sight, step.reason), step.reason)
    return kill(sight, step) if step.effect is Effect.KILL else True


def failed(sight: Sight, diagnosis: Diagnosis, reason: str) -> None:
    """Out of memory beside neighbours with more than is reserved for them is nobody's failure: it costs no restart."""
    replica = sight.replica
    holders = kv_limits.over_floor(replica, sight.around) if diagnosis.code in OUT_OF_MEMORY else []
    words, changes = diagnosis.words, backoff(replica, permanent=diagnosis.permanent)
    if replica.state == State.PENDING:  # it waited, and nothing of it ever ran
        changes = _short_of_memory(replica)
    if holders:
        words = f"{diagnosis.message} {reclaim.holders(holders)}; it starts again once there is room."
        changes = _short_of_memory(replica)
    if replica.rehearses:  # nobody asked for it: it costs no restart, and none follows
        words = f"Its rehearsal of a sleep failed: {words}"
        changes |= {"restarts": replica.restarts, "restart_at": changes["restart_at"] or timezone.now()}
        changes["profile"] = changes.get("profile", replica.profile) | {"rehearsal": "failed"}
    told = {"step": reason, "restarts": changes.get("restarts", replica.restarts)}
    told["restart_at"] = changes["restart_at"].isoformat() if changes["restart_at"] else None
    entry: dict[str, Any] = {"message": words.strip(), "fields": told}
    transition(replica, State.FAILED, reason=diagnosis.code, actor=WORKER, **entry, **changes)


def why(sight: Sight, reason: str) -> Diagnosis:
    """Why it failed, in words, from the end of its log and its exit code."""
    replica, exit_codes = sight.replica, sight.remembered.exit_codes
    pids = sight.remembered.pids.get(sight.marker, ())
    if sight.process is None:
        exit_codes |= processes.reap_dying(pids)
    code = next((exit_codes[pid] for pid in pids if pid in exit_codes), None)
    if reason == "engine_exited" and replica.state == State.STARTING and not launch.log_path(replica).exists():
        return Diagnosis(
            START_INTERRUPTED, "Its worker ended before it could start the engine.", "It is started again."
        )
    if replica.state == State.PENDING:
        return Diagnosis(
            reason, f"It could not begin to load in time: it {replica.message or 'waited for its worker'}.", _AGAIN
        )
    if reason in _EVIDENCE:
        diagnosis = diagnose(logs.tail(launch.log_path(replica)), code)
        if diagnosis.code in OUT_OF_MEMORY:
            return diagnosis
        hint = "" if diagnosis.code == "engine_exited" else diagnosis.words
        return Diagnosis(reason, _EVIDENCE[reason], hint.strip())
    if reason not in ("engine_exited", "start_timeout"):
        return Diagnosis(reason, _WORDS.get(reason, reason).format(difference=sight.difference), "")
    return diagnose(logs.tail(launch.log_path(replica)), code)


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


def _short_of_memory(replica: Replica) -> dict[str, Any]:
    """When one whose memory a neighbour took starts again: 5, 10 ... 300 seconds, and no restart is counted."""
    before = int(replica.profile.get("short_starts") or 0)
    seconds = min(SHORT_SECONDS * 2**before, LONGEST_SECONDS)
    profile = replica.profile | {"short_starts": before + 1}
    return {"restart_at": timezone.now() + timedelta(seconds=seconds), "profile": profile}


def retire(sight: Sight, step: Step) -> bool:
    """Its replacement serves everywhere: drain, stop and go."""
    set_goal(sight.replica, Goal.STOPPED, reason="moved", actor="move", disposable=True)
    return True


def abandon(sight: Sight, step: Step) -> bool:
    """A move's target failed: it goes, its source serves on and says why."""
    waits.abandon(sight.replica, sight.replica.message or sight.replica.reason)
    return True
