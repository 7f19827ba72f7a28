"""An outcome in words, for people: who does what, memory before and after, and who is not served for how long."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sardeenz import sizes

if TYPE_CHECKING:
    from models_app.policy.plans.outcome import Outcome, PlanDeployment, PlanGPU, PlanNode, PlanStep


def lines(outcome: "Outcome") -> list[str]:
    """What would happen, a sentence for each step."""
    return list(_lines(outcome))


def _lines(outcome: "Outcome") -> Iterator[str]:
    if outcome["refused"] is not None:
        yield f"It would be refused: {outcome['refused']['message']} ({outcome['refused']['code']})."
        return
    if not outcome["steps"]:
        yield "No replica would do anything."
    if outcome["two_phase"]:
        yield "Both copies do not fit at once, so it happens in two phases, and calls are held between them."
    yield from (_step(step) for step in outcome["steps"])
    yield from (line for one in outcome["deployments"] if (line := _deployment(one)))
    yield from (_gpu(one) for one in outcome["gpus"] if _changes(one))
    yield from (_node(one) for one in outcome["nodes"] if one["sleepers_before_bytes"] != one["sleepers_after_bytes"])
    before, after = outcome["expected_awake"]["before"], outcome["expected_awake"]["after"]
    if before != after:
        yield f"By recent traffic {after:.1f} models will be awake on average, instead of {before:.1f}."


def _step(step: "PlanStep") -> str:
    name, number = step["deployment"], step["replica"]
    who = f"{name}/{number}" if number is not None else f"A new replica of {name}"
    on = " and ".join(step["gpus"])
    does = {
        "sleeps": f"sleeps at level {step['level']} on {on}",
        "waits": f"waits for room on {on}",
        "loads": f"loads on {on}",
        "wakes": f"wakes on {on}",
        "stops": f"stops on {on}",
    }
    gone = ", and is gone then" if step["gone"] else ""
    why = f": {step['why']}" if step["why"] else ""
    return f"{who} {does[step['does']]}{_when(step)}{gone}{why}."


def _when(step: "PlanStep") -> str:
    begins, ends = step["begins_seconds"], step["ends_seconds"]
    after = "" if not begins else f" after {seconds(begins)}"
    if step["does"] == "waits":
        return after
    if begins is None or ends is None:
        return f"{after}, for a time that was never measured"
    return f"{after}, for {seconds(ends - begins)}"


def _deployment(one: "PlanDeployment") -> str:
    name, then = one["name"], one["then"]
    if then == "serves":
        if one["disruption_seconds"] is None:
            return (
                f"{name} serves after a time that was never measured."
                if one["now"] != "serves"
                else (f"{name} may not be served for a time that was never measured.")
            )
        if one["now"] != "serves":
            return f"{name} serves after {seconds(one['disruption_seconds'])}."
        if one["disruption_seconds"] == 0:
            return f"{name} is served all the time."
        return f"{name} is not served for {seconds(one['disruption_seconds'])}; its calls are held."
    if then == "asleep":
        wait = one["next_call_seconds"]
        length = "a time that was never measured" if wait is None else seconds(wait)
        return f"{name} ends asleep: its next call waits for {length}."
    ends = {"stopped": "ends stopped: its calls are refused", "gone": "is gone", "failed": "ends failed"}
    return f"{name} {ends.get(then, 'is still under way at the end')}."


def _changes(one: "PlanGPU") -> bool:
    return one["reserved_before_bytes"] != one["reserved_after_bytes"]


def _gpu(one: "PlanGPU") -> str:
    before, after = sizes.shown(one["reserved_before_bytes"]), sizes.shown(one["reserved_after_bytes"])
    line = f"{one['name']}: {before} of {sizes.shown(one['memory_bytes'])} are reserved now, {after} then"
    if one["used_before_bytes"] is None:
        return f"{line}."
    used, then = sizes.shown(one["used_before_bytes"]), sizes.shown(one["used_after_bytes"])
    return f"{line}; {used} are in use now, {then} then."


def _node(one: "PlanNode") -> str:
    before, after, most = one["sleepers_before_bytes"], one["sleepers_after_bytes"], one["budget_bytes"]
    line = f"Sleeping models hold {sizes.shown(before)} of host RAM on {one['node']} now, {sizes.shown(after)} then"
    if after > most:
        return f"{line}; that is more than the {sizes.shown(most)} they may hold, so the least valuable give way."
    return f"{line}, of {sizes.shown(most)} they may hold."


def seconds(value: float) -> str:
    """`about 2.1 s`, `about 40 s`, `less than 0.1 s`."""
    if value < 0.1:
        return "less than 0.1 s"
    return f"about {value:.1f} s" if value < 10 else f"about {value:.0f} s"
