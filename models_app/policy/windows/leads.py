"""How early models begin, to be ready when a window opens: learnt from their own last loads and wakes."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from datetime import timedelta

from models_app.in_force import Level
from models_app.models import Replica, counted
from models_app.policy.windows.plan import Schedule, named
from models_app.states import Goal, State

NONE = timedelta(0)
MARGIN_RATIO = 0.25
MARGIN_SECONDS = 10.0
"""Beside what was learnt: others may have to make room first."""
UNKNOWN_SECONDS = 120.0
"""One that was never loaded here."""


def of(
    schedules: list[Schedule], labels: Mapping[int, Mapping[str, str]], placed: Collection[int]
) -> dict[int, timedelta]:
    """By deployment that one of these windows wants awake; `placed` are those that have replicas.

    Loads on one GPU follow each other, so they add up.
    """
    wanted = _wanted(schedules, labels)
    away = Replica.objects.filter(counted(), deployment__in=wanted).exclude(goal=Goal.READY, state=State.READY)
    seconds: dict[int, float] = defaultdict(float)
    by_gpu: dict[int, float] = defaultdict(float)
    of_gpu: dict[int, set[int]] = defaultdict(set)
    for row in away.only("deployment_id", "gpu_id", "state", "goal", "profile"):
        of_gpu[row.gpu_id].add(row.deployment_id)
        by_gpu[row.gpu_id] += _seconds(row)
    for gpu, numbers in of_gpu.items():
        for number in numbers:
            seconds[number] = max(seconds[number], by_gpu[gpu])
    for number in wanted.difference(placed):
        seconds[number] = UNKNOWN_SECONDS
    return {
        number: timedelta(seconds=spent * (1 + MARGIN_RATIO) + MARGIN_SECONDS)
        for number, spent in seconds.items()
        if spent
    }


def _seconds(row: Replica) -> float:
    asleep = row.state in (State.SLEEPING, State.DRAINING, State.WAKING)
    known = row.profile.get("wake_seconds") if asleep else row.profile.get("load_seconds")
    return known if known is not None else UNKNOWN_SECONDS


def _wanted(schedules: list[Schedule], labels: Mapping[int, Mapping[str, str]]) -> set[int]:
    """Deployments that one of these windows keeps awake, by name or by a label of theirs."""
    asked = [each for one in schedules for each in one.asked if each.values.get("level") == Level.AWAKE]
    by_name, by_label = {each.deployment for each in asked}, {each.label for each in asked if each.label}
    return {
        number
        for number, own in labels.items()
        if number in by_name or (by_label and not by_label.isdisjoint(named(own)))
    }
