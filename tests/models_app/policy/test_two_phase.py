"""A change that needs another engine: beside the old one where both fit, else in two phases. No engine stands here."""

from typing import Any

import pytest
from django.db.models import F
from django.test import Client
from django.utils import timezone

from models_app.lifecycle import removal, verbs
from models_app.lifecycle.next_step import Effect, Seen, next_step
from models_app.memory import placement
from models_app.models import Deployment, Replica
from models_app.policy import demand
from models_app.states import Goal, State
from tests import factories
from tests.factories import GIB
from tests.models_app.policy.test_consent import gone, large, look, post
from tests.models_app.policy.test_demand import now, say
from tests.models_app.policy.test_what_if import plan, steps

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator(client: Client) -> Client:
    client.force_login(factories.user("olive", is_staff=True))
    return client


def edit(client: Client, of: Replica, **fields: Any) -> tuple[int, Any]:
    path = f"/api/deployments/{of.deployment_id}"
    answer = client.patch(path, {"roll_out": True, **fields}, content_type="application/json")
    return answer.status_code, answer.json()


def copy(source: Replica) -> Replica:
    return Replica.objects.get(replaces=source)


def test_where_both_fit_the_new_settings_come_beside_the_old_ones(operator: Client) -> None:
    source = factories.replica(deployment=factories.deployment(name="chat", goal=Goal.READY))
    assert edit(operator, source, extra_args=["--max-num-seqs", "8"])[0] == 200
    target = copy(source)
    assert (target.state, target.goal, target.gpu) == (State.PENDING, Goal.READY, source.gpu)
    assert (target.spec["extra_args"], now(source)) == (["--max-num-seqs", "8"], (Goal.READY, ""))


def test_what_needs_no_start_makes_no_copy(operator: Client) -> None:
    source = factories.replica(deployment=factories.deployment(name="chat", goal=Goal.READY))
    assert edit(operator, source, priority=3)[0] == 200
    assert Replica.objects.get() == source


def test_where_both_do_not_fit_it_is_refused_and_says_what_would_do(operator: Client) -> None:
    source = large(name="chat")
    say()
    status, body = edit(operator, source, max_model_len=4096)
    assert (status, body["code"], body["fields"]["two_phase"]) == (503, "no_capacity", True)
    assert "ask again with two_phase" in body["message"]
    assert Deployment.objects.get().max_model_len is None
    action = {"deployment": "chat", "max_model_len": 4096, "roll_out": True, "two_phase": True}
    outcome = plan(operator, "edit", **action)
    assert outcome["outcome"]["two_phase"] is True
    assert steps(outcome) == [("chat", "sleeps"), ("chat", "waits"), ("chat", "loads"), ("chat", "stops")]
    assert "happens in two phases" in outcome["outcome"]["lines"][0]
    assert Replica.objects.get() == source


def test_in_two_phases_the_source_sleeps_and_its_copy_starts_then(operator: Client) -> None:
    source = large(name="chat")
    say()
    assert edit(operator, source, max_model_len=4096, two_phase=True)[0] == 200
    target = copy(source)
    assert now(source) == (Goal.SLEEPING, "gives_way")
    assert (target.state, target.goal, target.reason) == (State.STOPPED, Goal.READY, placement.CLAIMED)
    look(target)
    assert target.state == State.STOPPED
    gone(source)
    look(target)
    assert (target.state, target.goal, target.spec["max_model_len"]) == (State.PENDING, Goal.READY, 4096)


def test_an_engine_without_sleep_mode_ends_instead(operator: Client) -> None:
    source = large(name="chat", sleep_enabled=False)
    say()
    assert edit(operator, source, max_model_len=4096, two_phase=True)[0] == 200
    source.refresh_from_db()
    assert (source.goal, source.gives_way) == (Goal.SLEEPING, "stop")
    assert placement.room_comes(copy(source))
    quiet = Seen(alive=True, quiet=True, rests=True)
    assert next_step(State.DRAINING, Goal.SLEEPING, quiet).to == State.STOPPING
    assert next_step(State.DRAINING, Goal.SLEEPING, Seen(alive=True, rests=True, overdue=True)).effect == Effect.GIVE_UP


@pytest.mark.parametrize(("sleeps", "rested"), [(True, State.SLEEPING), (False, State.STOPPED)])
def test_where_the_copy_fails_the_source_comes_back_as_it_was(operator: Client, sleeps: bool, rested: State) -> None:
    source = large(name="chat", sleep_enabled=sleeps)
    say()
    edit(operator, source, max_model_len=4096, two_phase=True)
    target = copy(source)
    Replica.objects.filter(pk=source.pk).update(state=rested, deadline_at=None, port=None)
    source.reservations.update(held_bytes=0)
    verbs.cancel(target, actor="olive")
    target.refresh_from_db()
    removal.forget(target)
    assert now(source) == (Goal.READY, placement.CLAIMED)
    if rested == State.STOPPED:
        look(source)  # what its engine left is given back
        look(source)
        assert (source.state, source.spec["max_model_len"]) == (State.PENDING, None)


def test_where_others_were_promised_its_place_the_source_sleeps_on_until_it_is_asked_for(operator: Client) -> None:
    source = large(name="chat")
    say()
    edit(operator, source, max_model_len=4096, two_phase=True)
    Replica.objects.filter(pk=source.pk).update(state=State.SLEEPING, deadline_at=None)
    source.reservations.update(held_bytes=F("asleep_bytes"))
    target = copy(source)
    verbs.cancel(target, actor="olive")
    other = large(State.SLEEPING, gpu=source.gpu, name="other")
    verbs.wake(other, actor="olive")
    target.refresh_from_db()
    removal.forget(target)
    assert now(source) == (Goal.SLEEPING, "gives_way")
    assert "it comes back at its next request" in source.message
    assert placement.free_later([source.gpu])[source.gpu_id] >= 0


@pytest.mark.parametrize("room", [True, False])
@pytest.mark.parametrize("state", [State.PENDING, State.SLEEPING])
@pytest.mark.parametrize("asked_by", ["operator", "call"])
def test_a_copy_turns_with_its_source_where_there_is_room_for_it_awake(asked_by: str, state: State, room: bool) -> None:
    say()
    source, elsewhere = factories.replica(State.SLEEPING), factories.gpu(memory_bytes=(40 if room else 35) * GIB)
    target = verbs.move(source, elsewhere, actor="olive")
    if state == State.SLEEPING:
        Replica.objects.filter(pk=target.pk).update(state=state, deadline_at=None)
        target.reservations.update(held_bytes=F("asleep_bytes"))
    factories.replica(State.SLEEPING, gpu=elsewhere, goal=Goal.READY)  # to it its place was promised
    assert placement.free_later([elsewhere])[elsewhere.pk] >= 0
    if asked_by == "call":
        demand.request_ready(source.deployment_id)
    else:
        verbs.wake(source, actor="olive")
    source.refresh_from_db()
    target.refresh_from_db()
    assert (source.goal, source.reason) == (Goal.READY, placement.CLAIMED)
    assert (target.goal, target.disposable) == ((Goal.READY, False) if room else (Goal.STOPPED, True))
    assert room or "no room here for both of them awake" in target.message
    assert placement.free_later([elsewhere])[elsewhere.pk] >= 0


def test_a_source_at_rest_goes_once_its_copy_serves() -> None:
    for state in (State.SLEEPING, State.STOPPED):
        seen = Seen(alive=state == State.SLEEPING, asleep=True, superseded=True)
        assert next_step(state, Goal.SLEEPING, seen).effect == Effect.RETIRE


def test_a_sleeper_without_room_loads_with_the_new_settings_at_its_next_request(operator: Client) -> None:
    sleeper = large(State.SLEEPING, name="chat")
    large(gpu=sleeper.gpu, name="other")
    assert edit(operator, sleeper, max_model_len=4096)[0] == 200
    assert now(sleeper) == (Goal.SLEEPING, "demoted_to_stopped")
    assert Replica.objects.filter(replaces=sleeper).count() == 0


def test_a_move_within_overlapping_gpus_happens_in_two_phases_when_told(operator: Client) -> None:
    first, second, third = (factories.gpu() for _ in range(3))
    wide = factories.deployment(name="wide", weights_bytes=60 * GIB, tensor_parallel=2, goal=Goal.READY)
    source = factories.replica(deployment=wide, gpu=first, state_at=timezone.now())
    source.spec["gpu_uuids"] = [first.uuid, second.uuid]
    source.save()
    other = source.reservations.get()
    source.reservations.create(
        gpu=second, awake_bytes=other.awake_bytes, asleep_bytes=other.asleep_bytes, held_bytes=other.held_bytes
    )
    say()
    status, body = post(operator, f"replicas/{source.pk}/move", gpu=third.uuid)
    assert (status, body["fields"]["two_phase"]) == (503, True)
    assert post(operator, f"replicas/{source.pk}/move", gpu=third.uuid, two_phase=True)[0] == 202
    assert (now(source), copy(source).gpu) == ((Goal.SLEEPING, "gives_way"), third)
