"""Entries of the history as sentences that say why. Pure: one entry and its inputs give one sentence."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Protocol

from models_app.states import State

ACTORS = {
    "worker": "its GPU's worker",
    "gateway": "a request",
    "control": "the number of replicas",
    "move": "a move",
    "drain": "a drain",
    "governor": "the KV memory governor",
    "rule:idle": "the idle rule",
    "rule:evict": "the eviction rules",
    "rule:host_memory": "the host RAM rule",
    "rule:rehearsal": "the rehearsal rule",
}
"""Who acted, where it was nobody with a name of their own."""

_WINDOWS, _OVERRIDES = "policy:", "policy:override by "

_ASKED = {
    "sleep": "is to sleep",
    "wake": "is to be ready",
    "start": "is to start",
    "stop": "is to stop",
    "restart": "is to restart",
    "cancelled": "is called back from what was under way",
    "moved": "goes, for its copy elsewhere serves",
    "move_failed": "goes, for the move to it failed",
    "deleted": "goes with its deployment",
    "scaled_down": "goes, for the deployment is to have fewer replicas",
    "placed_elsewhere": "goes, for another GPU has room for it",
    "source_stopped": "goes, for the replica that it was to replace was stopped",
    "rehearsal": "sleeps once and wakes",
    "evicted": "gives its place to another model",
    "waits_for_room": "waits for room",
    "waits_for_memory": "waits for memory",
    "waits_to_evict": "waits until others may be evicted for it",
    "no_capacity": "found no room",
    "host_memory_short": "sleeps at level 2",
    "demoted_to_level_2": "goes on to level 2",
    "demoted_to_stopped": "sleeps on without an engine",
    "sleep_given_up": "stays awake",
    "drain": "leaves its GPU",
    "drain_waits": "stays on a GPU that is to be emptied",
    "drain_over": "may stay where it is",
    "gpu_cordoned": "found its GPU cordoned",
}
"""What became of one whose goal was changed, by reason."""

_SETTINGS = {"edited": "was edited", "policy": "has other settings"}
"""What became of a deployment itself, by reason."""

_REACHED = {
    State.PENDING: "is about to load",
    State.STARTING: "begins to load",
    State.READY: "is ready",
    State.DRAINING: "takes no new calls and finishes those in flight",
    State.SLEEPING: "is asleep",
    State.WAKING: "wakes",
    State.STOPPING: "ends its engine",
    State.STOPPED: "has no engine any more",
    State.FAILED: "failed",
}

_TURNED = {
    (State.STARTING, State.READY): "has loaded and is ready",
    (State.WAKING, State.READY): "woke and is ready",
    (State.DRAINING, State.READY): "is ready again without having slept",
    (State.WAKING, State.SLEEPING): "could not wake and is asleep",
    (State.FAILED, State.PENDING): "is tried again",
}
"""Changes that say more than where they lead."""


class Event(Protocol):
    """What a sentence is made of: an entry of the history."""

    old: str
    new: str
    reason: str
    message: str
    fields: Any
    actor: str


def who(actor: str) -> str:
    """Who acted: a person or a key by name, a rule, a window or an override in words."""
    if actor in ACTORS:
        return ACTORS[actor]
    if actor.startswith(_OVERRIDES):
        return f"the override by {actor.removeprefix(_OVERRIDES)}"
    return f"the window {actor.removeprefix(_WINDOWS)}" if actor.startswith(_WINDOWS) else actor


def sentence(name: str, event: Event) -> str:
    """What happened to the replica or deployment of this name, and why."""
    more = event.message.strip().removesuffix(".")
    if not more and event.actor.startswith(_WINDOWS):
        more = f"{who(event.actor)} asks for it"
    if extra := _extra(event.fields):
        more = f"{more}; {extra}" if more else extra
    if not event.new:
        what = _SETTINGS.get(event.reason, event.reason.replace("_", " "))
    elif not event.old:
        what = "is a copy for a move" if event.reason == "move" else "is new"
    elif event.old == event.new:
        what = _ASKED.get(event.reason, event.reason.replace("_", " "))
    else:
        turned = State(event.old), State(event.new)
        what = _TURNED.get(turned, _REACHED[turned[1]])
    return f"{name} {what}: {more}" if more else f"{name} {what}"


def _extra(fields: Mapping[str, Any]) -> str:
    """What the inputs tell that the message does not."""
    if fields.get("verdict") == "evict":
        return spared(fields)
    restart_at = fields.get("restart_at")
    if restart_at and fields.get("step"):
        return f"restart {fields.get('restarts')} comes at {clock(datetime.fromisoformat(restart_at))}"
    if fields.get("step") and "restart_at" in fields:
        return "it is not started again by itself"
    return ""


def spared(fields: Mapping[str, Any]) -> str:
    """Whom a decision left where they were, and why."""
    gone = set(fields.get("concerns") or ())
    stay = [one for one in fields.get("residents") or () if one.get("id") not in gone]
    highest = max((one.get("priority", 0) for one in fields.get("residents") or () if one.get("id") in gone), default=0)
    named = [f"`{one.get('name')}` ({_why_spared(one, fields, highest)})" for one in stay]
    return f"spared: {', '.join(named)}" if named else ""


def _why_spared(one: Mapping[str, Any], fields: Mapping[str, Any], highest: int) -> str:
    """The first rule that spared it."""
    now, since = fields.get("now") or 0.0, one.get("ready_at")
    residency = (fields.get("min_resident_seconds") or {}).get(str(one.get("id")), 0.0)
    if one.get("pinned"):
        return "pinned"
    if not one.get("sleep_enabled", True):
        return "no sleep mode"
    if one.get("copy"):
        return "another replica of the same model"
    if since is None:
        return "not ready yet"
    if now < since + residency:
        return f"ready for {now - since:.0f} s of at least {residency:.0f} s"
    if one.get("in_flight") or one.get("waiting"):
        return "in use"
    if one.get("priority", 0) > highest:
        return f"priority {one['priority']}"
    return "it would have cost more, or was not needed"


def clock(moment: datetime) -> str:
    """A moment of these days in words, in UTC."""
    return f"{moment:%H:%M:%S} UTC"


def seconds(span: float) -> str:
    """A duration as people say it."""
    if span < 9.95:
        return f"{span:.1f} s"
    return f"{span:.0f} s" if span < 120 else f"{span / 60:.0f} min"


def all_of(parts: Iterable[str]) -> str:
    """The clauses that say anything, joined to one sentence."""
    return "; ".join(part for part in parts if part)
