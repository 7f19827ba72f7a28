"""Windows and overrides at work: what is in force follows from the clock, is compared with rows, and brought about.

Nothing is remembered but what saves work: a beat that is missed, a restart or a step of the clock heals at the next
look. The verbs that operators use do the work, so every step has its entry in the history.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime

from models_app.policy.windows import leads, reading
from models_app.policy.windows.floors import Floors
from models_app.policy.windows.levels import Levels
from models_app.policy.windows.plan import LONGEST_LEAD, NOTHING, Clock, Plan, Schedule, Subject, Word, decide, named
from models_app.policy.windows.writing import Change, write


@dataclass(slots=True)
class Applier:
    """Brings policies about. What it keeps between looks is cheap to lose: another process finds the same."""

    clock: Clock = field(default_factory=Clock)
    schedules: reading.Schedules = field(default_factory=reading.Schedules)
    deployments: reading.Deployments = field(default_factory=reading.Deployments)
    levels: Levels = field(default_factory=Levels)
    floors: Floors = field(default_factory=Floors)
    _last: "_Decided | None" = None

    def run(self, now: datetime) -> None:
        """One look: what changes is written down first, then levels and KV floors are brought about."""
        rows, replicas = self.deployments.read(), reading.replicas()
        schedules = self.schedules.read()
        plans = self._decide(rows, schedules, replicas, now)  # overrides are read after what operators did with them
        self.clock.forget_all_but(schedules)
        ceilings = _ceilings(rows, schedules)
        differ = {
            row.id: Change(row.name, plan, ceilings.get(row.id))
            for row in rows
            if _differs(row, plan := plans.get(row.id, NOTHING), ceilings.get(row.id))
        }
        written = write(differ) if differ else {}
        for row in rows:
            row.governed = written.get(row.id, row.governed)
        self.floors.bring_about(rows, replicas, now)
        self.levels.bring_about(rows, plans, replicas, now)

    def plans(self, now: datetime) -> dict[int, Plan]:
        """What is asked of every deployment at `now`; nothing is changed."""
        return self._decide(self.deployments.read(), self.schedules.read(), reading.replicas(), now)

    def _decide(
        self, rows: list[reading.Row], schedules: list[Schedule], placed: Collection[int], now: datetime
    ) -> dict[int, Plan]:
        """The last plans where they still hold: what they follow from is the same, and no edge has come."""
        subjects, words = self._subjects(rows, schedules, placed, now), reading.words(now)
        if self._last is None or not self._last.holds(subjects, schedules, words, now):
            plans = decide(subjects, schedules, words, now, self.clock)
            edges = (plan.changes_at for plan in plans.values() if plan.changes_at is not None)
            self._last = _Decided(subjects, schedules, words, now, min(edges, default=None), plans)
        return self._last.plans

    def _subjects(
        self, rows: list[reading.Row], schedules: list[Schedule], placed: Collection[int], now: datetime
    ) -> list[Subject]:
        soon = [one for one in schedules if one.ready_by and not one.paused and self._opens_soon(one, now)]
        lead = leads.of(soon, {row.id: row.labels for row in rows}, placed) if soon else {}
        return [Subject(row.id, row.labels, lead.get(row.id, leads.NONE)) for row in rows]

    def _opens_soon(self, schedule: Schedule, now: datetime) -> bool:
        standing = self.clock.standing(schedule, now)
        return not standing.open and standing.next is not None and standing.next.opens_at - now <= LONGEST_LEAD


@dataclass(frozen=True, slots=True)
class _Decided:
    """Plans, what they follow from, and until when they hold."""

    subjects: list[Subject]
    schedules: list[Schedule]
    words: list[Word]
    since: datetime
    until: datetime | None
    plans: dict[int, Plan]

    def holds(self, subjects: list[Subject], schedules: list[Schedule], words: list[Word], now: datetime) -> bool:
        in_time = self.since <= now and (self.until is None or now < self.until)
        same = schedules is self.schedules and words == self.words and subjects == self.subjects
        return in_time and same


def _ceilings(rows: list[reading.Row], schedules: list[Schedule]) -> dict[int, int]:
    """The highest KV cap that any window gives a deployment: its engine is launched with room for it."""
    highest: dict[int | str, int] = {}
    for asked in (each for schedule in schedules for each in schedule.asked):
        if (cap := asked.values.get("kv_cap_bytes")) is not None:
            whom = asked.label if asked.deployment is None else asked.deployment
            highest[whom] = max(cap, highest.get(whom, 0))
    if not highest:
        return {}
    caps = {row.id: [highest[key] for key in (row.id, *named(row.labels)) if key in highest] for row in rows}
    return {number: max(given) for number, given in caps.items() if given}


def _differs(row: reading.Row, plan: Plan, ceiling: int | None) -> bool:
    governed = row.governed
    edge = plan.changes_at.isoformat() if plan.changes_at is not None else ""
    return (
        governed.get("fields", {}) != plan.fields
        or governed.get("changes_at", "") != edge
        or governed.get("ceiling_bytes") != ceiling
    )
