"""Waiting for what a verb began, and saying meanwhile how far it is."""

import time
from collections.abc import Callable
from typing import Annotated, Any

import typer

from sardeenz.cli.client import Rows, rows
from sardeenz.cli.output import fail, say

POLL_SECONDS = 0.5
DEFAULT_SECONDS = 1800.0

Wait = Annotated[bool, typer.Option("--wait", help="return when it is done; status 1 if it failed")]
Timeout = Annotated[float, typer.Option(min=0, help="with --wait: seconds after which to give up; the work goes on")]

Find = Callable[[], Rows]
Done = Callable[[Rows], bool]


def of(deployment: int) -> Find:
    """The replicas of a deployment, targets of moves aside."""
    return lambda: [each for each in rows("replicas", deployment=deployment) if each["replaces"] is None]


def one(replica: int) -> Find:
    """This replica, if it is still there."""
    return lambda: [each for each in rows("replicas") if each["id"] == replica]


def arrived(state: str, count: int = 1) -> Done:
    """All of them are in this state and mean to stay there, and there are enough."""
    return lambda found: len(found) >= count and all(each["state"] == each["goal"] == state for each in found)


def moved(found: Rows) -> bool:
    """The copy stands alone: what it replaced is gone."""
    return all(each["replaces"] is None and each["state"] == each["goal"] for each in found)


def started_after(generation: int) -> Done:
    """It serves with a later start than this one."""
    return lambda found: all(each["generation"] > generation and each["state"] == "ready" for each in found)


def until(done: Done, find: Find, name: str, *, seconds: float, gone: bool = False) -> None:
    """Return once it is done. A failure that stays, or a replica that goes while it is waited for, is status 1."""
    deadline = time.monotonic() + seconds
    shown: dict[int, str] = {}
    seen = False
    while True:
        found = find()
        _tell(found, shown)
        if not found and (gone or seen):
            return None if gone else fail(f"{name} is gone; `sardeenz history` tells why")
        if found and done(found):
            return None
        seen = bool(found)
        if lost := [each for each in found if each["state"] == "failed" and each["restart_at"] is None]:
            fail(f"{lost[0]['deployment_name']}/{lost[0]['id']} stays failed until it is started again")
        if time.monotonic() > deadline:
            fail(f"{name} is not there after {seconds:g} s; it goes on, and `sardeenz status` shows how far it is")
        time.sleep(POLL_SECONDS)


def _tell(found: Rows, shown: dict[int, str]) -> None:
    for each in found:
        line = describe(each)
        if shown.get(each["id"]) != line:
            shown[each["id"]] = line
            say(line)


def describe(replica: dict[str, Any]) -> str:
    """Where a replica is, where it is headed, and why."""
    state, goal = replica["state"], replica["goal"]
    ends = {"ready": "then serves", "sleeping": "then sleeps", "stopped": "then ends"}
    if replica["restarting"]:
        there = f"is {state}, ends and starts again"
    else:
        there = f"is {state}" if state == goal else f"is {state}, {ends[goal]}"
    phase = f" ({replica['phase']})" if state == "starting" and replica["phase"] else ""
    why = f": {replica['message']}" if replica["message"] else ""
    return f"{replica['deployment_name']}/{replica['id']} {there}{phase}{why}"
