"""`next_step` over every combination: nothing illegal, nothing stuck, and the rules that matter by name."""

from dataclasses import replace
from itertools import product
from typing import Any
from unittest.mock import ANY

import pytest

from models_app.lifecycle.next_step import WAIT, Effect, Seen, Step, next_step
from models_app.states import ALLOWED, LIVE, TRANSIENT, Goal, State

TRISTATE = (None, False, True)
ALIVE = Seen(alive=True, healthy=True, asleep=False)
MEANT_TO_TERMINATE = frozenset({State.STOPPING, State.FAILED})


def everything() -> list[Seen]:
    """Every observation that can matter; impossible ones (a dead engine that answers) included."""
    return [
        Seen(alive, healthy, asleep, canary, quiet, freed, overdue, may_start, superseded, holds, due, replaces, sent)
        for alive, healthy, asleep, canary, quiet, freed in product(
            (False, True), (None, True), TRISTATE, TRISTATE, TRISTATE, TRISTATE
        )
        for overdue, may_start, superseded, holds, due, replaces, sent in product((False, True), repeat=7)
    ]


ALL_SEEN = everything()


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("goal", Goal)
def test_no_observation_leads_to_an_illegal_transition(state: State, goal: Goal) -> None:
    for seen in ALL_SEEN:
        step = next_step(state, goal, seen)
        assert step.to is None or step.to in ALLOWED[state], (state, goal, seen, step)


@pytest.mark.parametrize("state", sorted(LIVE))
@pytest.mark.parametrize("goal", Goal)
def test_a_live_state_without_a_process_fails_whatever_else_is_seen(state: State, goal: Goal) -> None:
    assert {next_step(state, goal, seen).to for seen in ALL_SEEN if not seen.alive} == {State.FAILED}


@pytest.mark.parametrize("state", sorted(TRANSIENT))
@pytest.mark.parametrize("goal", Goal)
def test_an_overdue_state_is_always_left_or_acted_upon(state: State, goal: Goal) -> None:
    for seen in ALL_SEEN:
        if seen.overdue:
            assert next_step(state, goal, seen) != WAIT, (state, goal, seen)


@pytest.mark.parametrize("state", sorted(LIVE | {State.PENDING}))
@pytest.mark.parametrize("goal", Goal)
def test_a_slow_answer_never_fails_an_engine_before_its_deadline(state: State, goal: Goal) -> None:
    silent = Seen(alive=True, may_start=True)
    assert next_step(state, goal, silent).to != State.FAILED


@pytest.mark.parametrize("state", sorted(LIVE))
@pytest.mark.parametrize("goal", Goal)
@pytest.mark.parametrize(
    "evidence", [{"dead": "unhealthy"}, {"dead": "connection_refused"}, {"alive": False, "orphaned": True}]
)
def test_evidence_fails_an_engine_in_every_state_and_ends_what_is_left(
    state: State, goal: Goal, evidence: dict[str, Any]
) -> None:
    step = next_step(state, goal, replace(ALIVE, quiet=False, **evidence))
    assert (step.to, step.effect) == (State.FAILED, Effect.KILL)
    assert step.reason == evidence.get("dead", "server_gone")


@pytest.mark.parametrize("state", [State.FAILED, State.STOPPING, State.STOPPED])
def test_nothing_is_given_back_while_a_process_of_the_engine_is_left(state: State) -> None:
    for goal, holds in product(Goal, (False, True)):
        assert next_step(state, goal, Seen(orphaned=True, holds=holds)) == Step(None, Effect.KILL, ANY)


def test_nothing_sleeps_while_it_may_still_be_serving() -> None:
    for seen in ALL_SEEN:
        if next_step(State.DRAINING, Goal.SLEEPING, seen).effect == Effect.SLEEP:
            assert seen.quiet is True, seen


def test_nothing_is_routed_after_a_wake_before_its_canary_answered() -> None:
    for seen in ALL_SEEN:
        if next_step(State.WAKING, Goal.READY, seen).to == State.READY:
            assert seen.canary and seen.asleep is False, seen


def test_a_stopped_engine_counts_until_its_process_is_gone() -> None:
    for goal, seen in product(Goal, ALL_SEEN):
        if next_step(State.STOPPING, goal, seen).to == State.STOPPED:
            assert not seen.alive, seen


def test_a_failed_replica_never_restarts_before_its_memory_came_back() -> None:
    for goal, seen in product(Goal, ALL_SEEN):
        if next_step(State.FAILED, goal, seen).to == State.PENDING:
            assert not seen.alive and not seen.holds, seen


def test_observation_comes_before_intention_an_engine_found_asleep_is_not_called_ready() -> None:
    assert next_step(State.DRAINING, Goal.READY, replace(ALIVE, asleep=True)).to == State.SLEEPING
    assert next_step(State.READY, Goal.READY, replace(ALIVE, asleep=True)).to == State.DRAINING


def test_a_moves_failed_target_gives_up_and_its_source_is_left_alone() -> None:
    assert next_step(State.FAILED, Goal.READY, Seen(replaces=True)).effect == Effect.ABANDON
    assert next_step(State.READY, Goal.READY, ALIVE) == WAIT


def test_a_source_retires_only_when_its_replacement_is_known_everywhere() -> None:
    assert next_step(State.READY, Goal.READY, replace(ALIVE, superseded=True)).effect == Effect.RETIRE


@pytest.mark.parametrize("start", State)
@pytest.mark.parametrize("goal", Goal)
def test_in_a_cooperative_world_every_replica_arrives(start: State, goal: Goal) -> None:
    """Play the engine: what is asked of it happens at once. Twelve steps are enough from anywhere.

    Whoever is to sleep and has no engine is given none: it loads when it is asked for.
    """
    state, headed = start, goal
    alive, asleep, holds = start in LIVE, start == State.SLEEPING, start != State.STOPPED
    for _ in range(12):
        seen = Seen(
            alive=alive,
            healthy=alive or None,
            asleep=asleep if alive else None,
            canary=alive or None,
            quiet=alive or None,
            freed=None,
            may_start=True,
            holds=holds,
            restart_due=True,
        )
        step = next_step(state, headed, seen)
        if step == WAIT:
            break
        state = step.to or state
        holds = holds or state == State.PENDING
        match step.effect:
            case Effect.SPAWN:
                alive, asleep = True, False
            case Effect.SLEEP:
                asleep = True
            case Effect.WAKE:
                asleep = False
            case Effect.TERMINATE | Effect.KILL:
                alive = False
            case Effect.RELEASE:
                holds = False
    rests = goal == Goal.SLEEPING and start in (State.STOPPING, State.STOPPED, State.FAILED)
    assert state == (State.STOPPED if rests else State(headed.value))
