"""What would happen, asked without doing it. No engine stands behind these replicas."""

import math
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction
from django.test import Client
from django.utils import timezone
from psycopg.errors import DeadlockDetected

from gateway.models import UsageHour
from gpus.models import GPU
from models_app.errors import FleetBusy
from models_app.models import Deployment, Plan, Replica, Transition
from models_app.policy.plans import costs, outcome, what_if
from models_app.policy.plans import fleet as fleets
from models_app.policy.plans import words as plan_words
from models_app.states import Goal, State
from tests import factories
from tests.factories import GIB
from tests.models_app.policy.test_consent import large, post
from tests.models_app.policy.test_demand import now, say

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator(client: Client) -> Client:
    client.force_login(factories.user("olive", is_staff=True))
    return client


def plan(client: Client, verb: str, **action: Any) -> dict[str, Any]:
    status, body = post(client, "plans", action={"verb": verb, **action})
    assert status == 201, body
    return dict(body)


def steps(body: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one["deployment"], one["does"]) for one in body["outcome"]["steps"]]


def reserved(body: dict[str, Any]) -> list[tuple[int, int]]:
    return [
        (one["reserved_before_bytes"] // GIB, one["reserved_after_bytes"] // GIB) for one in body["outcome"]["gpus"]
    ]


def measured(replica: Replica, **profile: Any) -> Replica:
    Replica.objects.filter(pk=replica.pk).update(profile=profile, ready_at=timezone.now())
    replica.refresh_from_db()
    return replica


def test_a_sleep_is_told_and_nothing_is_done(operator: Client) -> None:
    replica = measured(factories.replica(deployment=factories.deployment(name="chat", goal=Goal.READY)), wake_seconds=2)
    body = plan(operator, "sleep", deployment="chat")
    assert steps(body) == [("chat", "sleeps")]
    assert reserved(body) == [(18, 1)]
    [chat] = body["outcome"]["deployments"]
    assert (chat["now"], chat["then"], chat["next_call_seconds"]) == ("serves", "asleep", 2)
    assert "chat ends asleep: its next call waits for about 2.0 s." in body["outcome"]["lines"]
    assert (now(replica), Transition.objects.count()) == ((Goal.READY, ""), 0)


def test_a_move_loads_its_copy_first_and_nobody_is_without_it(operator: Client) -> None:
    source, other = factories.replica(deployment=factories.deployment(name="chat", goal=Goal.READY)), factories.gpu()
    measured(source, load_seconds=40)
    body = plan(operator, "move", replica=source.pk, gpu=other.uuid)
    assert steps(body) == [("chat", "loads"), ("chat", "stops")]
    assert [one["replica"] for one in body["outcome"]["steps"]] == [None, source.pk]
    assert reserved(body) == [(18, 0), (0, 18)]
    assert body["outcome"]["deployments"][0]["disruption_seconds"] == 0
    assert Replica.objects.count() == 1


def history(replica: Replica, *visits: tuple[State, State, float]) -> None:
    """It went from one state to the next after so many seconds."""
    at = timezone.now() - timedelta(hours=1)
    for old, new, seconds in visits:
        at += timedelta(seconds=seconds)
        made = Transition.objects.create(
            replica=replica,
            deployment_name=replica.deployment.name,
            generation=1,
            old=old,
            new=new,
            goal="ready",
            actor="w",
        )
        Transition.objects.filter(pk=made.pk).update(at=at)


def test_seconds_are_those_that_the_history_tells(operator: Client) -> None:
    source, other = factories.replica(deployment=factories.deployment(name="chat", goal=Goal.READY)), factories.gpu()
    history(source, (State.PENDING, State.STARTING, 0), (State.STARTING, State.READY, 30))
    body = plan(operator, "move", replica=source.pk, gpu=other.uuid)
    loads, stops = body["outcome"]["steps"]
    assert (loads["begins_seconds"], loads["ends_seconds"], stops["begins_seconds"]) == (0, 30, 30)
    assert body["outcome"]["deployments"][0]["disruption_seconds"] == 0
    restart = plan(operator, "restart", replica=source.pk)
    assert steps(restart) == [("chat", "stops"), ("chat", "loads")]
    assert restart["outcome"]["deployments"][0]["disruption_seconds"] == 30


def test_a_refusal_is_the_verbs_own(operator: Client) -> None:
    pinned = large(pinned=True)
    say()
    wish = factories.deployment(weights_bytes=60 * GIB)
    refused = plan(operator, "deploy", deployment=wish.pk, gpu=pinned.gpu.uuid)["outcome"]
    said = post(operator, f"deployments/{wish.pk}/deploy", gpu=pinned.gpu.uuid)[1]
    assert (refused["refused"]["code"], refused["refused"]["message"]) == (said["code"], said["message"])
    assert refused["steps"] == []
    assert refused["lines"] == [f"It would be refused: {said['message']} (no_capacity)."]


def test_who_is_evicted_sleeps_first_and_the_comer_loads_then(operator: Client) -> None:
    idle = large(name="old")
    history(idle, (State.READY, State.DRAINING, 0), (State.DRAINING, State.SLEEPING, 4))
    say()
    factories.deployment(name="wish", weights_bytes=60 * GIB)
    body = plan(operator, "deploy", deployment="wish", gpu=idle.gpu.uuid, evict=True)
    assert steps(body) == [("old", "sleeps"), ("wish", "waits"), ("wish", "loads")]
    sleeps, _, loads = body["outcome"]["steps"]
    assert "evicted for `wish`: idle" in sleeps["why"]
    assert (sleeps["ends_seconds"], loads["begins_seconds"]) == (4, 4)
    assert reserved(body) == [(62, 63)]
    assert (now(idle), Deployment.objects.get(name="wish").placed.count()) == ((Goal.READY, ""), 0)


def test_what_is_freed_goes_to_who_waits_for_room(operator: Client) -> None:
    large(name="old")
    waits = factories.deployment(name="waits", weights_bytes=60 * GIB, goal=Goal.READY, reason="no_capacity")
    body = plan(operator, "stop", deployment="old")
    assert steps(body) == [("old", "stops"), ("waits", "loads")]
    assert waits.placed.count() == 0


def test_one_without_an_engine_holds_nothing_though_its_place_sleeps() -> None:
    """As after a stop of the platform: it was measured awake, and is to load at its first request."""
    row = measured(factories.replica())
    uuid = row.gpu.uuid
    measured(row, held_bytes={uuid: 17 * GIB})
    Replica.objects.filter(pk=row.pk).update(state=State.STOPPED, goal=Goal.SLEEPING)
    row.reservations.update(held_bytes=0)
    fleet = fleets.read()
    used: outcome.Used = {"devices": {uuid: GIB}, "engines": {}, "foreign": {}}
    [gpu] = outcome.gpus(fleet, fleets.forecast(fleet, costs.learnt(), {}), used)
    assert (gpu["used_before_bytes"], gpu["used_after_bytes"]) == (GIB, GIB)


def test_host_ram_and_expected_awake_models_are_told(operator: Client) -> None:
    factories.replica(deployment=factories.deployment(name="chat", goal=Goal.READY))
    outcome = plan(operator, "sleep", deployment="chat")["outcome"]
    [node] = outcome["nodes"]
    assert (node["sleepers_before_bytes"], node["sleepers_after_bytes"]) == (0, 16 * GIB)
    assert (outcome["expected_awake"]["before"], outcome["expected_awake"]["after"]) == (1, 0)


def test_a_new_deployment_is_asked_about_without_a_trace(operator: Client) -> None:
    factories.gpu()
    factories.runtime()
    body = plan(operator, "create", name="fresh", source="org/Chat-8B", weights_bytes=16 * GIB, deploy=True)
    assert steps(body) == [("fresh", "loads")]
    assert body["outcome"]["deployments"][0]["now"] == "new"
    assert not Deployment.objects.exists()
    assert post(operator, f"plans/{body['id']}/apply")[0] == 202
    assert Deployment.objects.get().placed.count() == 1


def test_a_plan_is_applied_once(operator: Client) -> None:
    replica = factories.replica(deployment=factories.deployment(name="chat", goal=Goal.READY))
    body = plan(operator, "sleep", deployment="chat")
    assert post(operator, f"plans/{body['id']}/apply")[0] == 202
    assert now(replica) == (Goal.SLEEPING, "sleep")
    assert Transition.objects.get().actor == "olive"
    status, again = post(operator, f"plans/{body['id']}/apply")
    assert (status, again["code"], again["fields"]["by"]) == (409, "plan_applied", "olive")
    assert Transition.objects.count() == 1


def test_a_plan_does_nothing_once_something_moved_and_says_what(operator: Client) -> None:
    replica = factories.replica(deployment=factories.deployment(name="chat", goal=Goal.READY))
    body = plan(operator, "stop", deployment="chat")
    Replica.objects.filter(pk=replica.pk).update(state=State.SLEEPING, goal=Goal.SLEEPING, seq=7)
    replica.reservations.update(held_bytes=GIB)
    status, refused = post(operator, f"plans/{body['id']}/apply")
    assert (status, refused["code"]) == (409, "plan_outdated")
    assert refused["fields"]["moved"] == [f"chat/{replica.pk} was ready and is sleeping"]
    assert now(replica) == (Goal.SLEEPING, "")


def test_a_plan_of_what_is_gone_or_old_is_not_applied(operator: Client) -> None:
    factories.gpu()
    factories.deployment(name="chat")
    body = plan(operator, "delete", deployment="chat")
    late = plan(operator, "delete", deployment="chat")
    Plan.objects.filter(pk=late["id"]).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert post(operator, f"plans/{late['id']}/apply")[1]["code"] == "plan_expired"
    Deployment.objects.all().delete()
    status, refused = post(operator, f"plans/{body['id']}/apply")
    assert (status, refused["code"]) == (409, "plan_outdated")
    assert post(operator, "plans/999/apply")[0] == 404


def test_an_applied_refusal_is_refused_likewise(operator: Client) -> None:
    pinned = large(pinned=True)
    say()
    wish = factories.deployment(weights_bytes=60 * GIB)
    body = plan(operator, "deploy", deployment=wish.pk, gpu=pinned.gpu.uuid)
    status, refused = post(operator, f"plans/{body['id']}/apply")
    assert (status, refused["code"]) == (503, "no_capacity")
    assert Plan.objects.get().applied_at is None


@pytest.mark.parametrize(
    ("action", "field"),
    [
        ({"verb": "fly", "deployment": "chat"}, "verb"),
        ({"verb": "stop"}, "deployment"),
        ({"verb": "move", "deployment": "chat"}, "verb"),
        ({"verb": "stop", "deployment": "nobody"}, "deployment"),
    ],
)
def test_what_is_no_action_is_refused_by_its_field(operator: Client, action: dict[str, Any], field: str) -> None:
    factories.deployment(name="chat")
    status, body = post(operator, "plans", action=action)
    assert (status, body["code"]) == (400, "invalid_spec")
    assert field in str(body["fields"])


def test_a_sleeper_that_wakes_waits_for_its_learnt_seconds(operator: Client) -> None:
    sleeper = factories.replica(State.SLEEPING, deployment=factories.deployment(name="chat", goal=Goal.READY))
    history(sleeper, (State.SLEEPING, State.WAKING, 0), (State.WAKING, State.READY, 3))
    outcome = plan(operator, "wake", deployment="chat")["outcome"]
    assert [(one["does"], one["ends_seconds"]) for one in outcome["steps"]] == [("wakes", 3)]
    assert "chat serves after about 3.0 s." in outcome["lines"]


def test_any_function_can_be_asked_about() -> None:
    replica = factories.replica(deployment=factories.deployment(name="chat", goal=Goal.READY))
    GPU.objects.get()

    def act() -> None:
        Replica.objects.filter(pk=replica.pk).update(goal=Goal.SLEEPING, seq=replica.seq + 1)

    outcome = what_if.answer(act)
    assert [one["does"] for one in outcome["steps"]] == ["sleeps"]
    assert now(replica)[0] == Goal.READY


def test_nothing_is_published_and_nobody_is_poked(
    operator: Client, django_capture_on_commit_callbacks: Callable[[], AbstractContextManager[list[Callable[[], None]]]]
) -> None:
    factories.replica(deployment=factories.deployment(name="chat", goal=Goal.READY))
    with django_capture_on_commit_callbacks() as committed:
        body = plan(operator, "stop", deployment="chat")
    assert committed == []
    with django_capture_on_commit_callbacks() as committed:
        post(operator, f"plans/{body['id']}/apply")
    assert committed


def test_one_may_look_at_plans_who_may_not_make_them(operator: Client) -> None:
    factories.gpu()
    factories.deployment(name="chat")
    made = plan(operator, "deploy", deployment="chat")
    operator.force_login(factories.user("lena"))
    assert operator.get(f"/api/plans/{made['id']}").json()["outcome"] == made["outcome"]
    assert operator.get("/api/plans").json()["count"] == 1
    assert post(operator, "plans", action=made["action"])[0] == 403
    assert post(operator, f"plans/{made['id']}/apply")[0] == 403


def test_calls_of_late_say_how_many_models_will_be_awake(operator: Client) -> None:
    deployment = factories.deployment(name="chat", goal=Goal.READY, idle_sleep_seconds=600)
    factories.replica(State.SLEEPING, deployment=deployment)
    hour = timezone.now() - timedelta(hours=10)
    UsageHour.objects.create(hour=hour, served_name="chat", calls=60)
    awake = plan(operator, "wake", deployment="chat")["outcome"]["expected_awake"]
    assert awake["before"] == pytest.approx(1 - math.exp(-1), abs=0.01)


@pytest.mark.django_db(transaction=True)
def test_a_row_that_somebody_holds_is_waited_for_and_then_said(
    operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(what_if, "LOCK_SECONDS", 0.2)
    replica = factories.replica(deployment=factories.deployment(name="chat", goal=Goal.READY))
    held, over = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            Replica.objects.select_for_update().get(pk=replica.pk)
            held.set()
            over.wait(30)
        connection.close()

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        assert held.wait(30)
        status, body = post(operator, "plans", action={"verb": "sleep", "deployment": "chat"})
        assert (status, body["code"]) == (503, "fleet_busy")
    finally:
        over.set()
        holder.join()
    assert post(operator, "plans", action={"verb": "sleep", "deployment": "chat"})[0] == 201


@pytest.mark.django_db
def test_who_waits_for_each_other_is_told_that_somebody_else_was_busy() -> None:
    with pytest.raises(FleetBusy), transaction.atomic(), what_if.bounded():
        raise OperationalError("deadlock detected") from DeadlockDetected()


@pytest.mark.django_db(transaction=True)
def test_of_two_people_who_apply_one_plan_one_does(operator: Client) -> None:
    replica = factories.replica(deployment=factories.deployment(name="chat", goal=Goal.READY))
    number = plan(operator, "sleep", deployment="chat")["id"]
    codes: list[int] = []

    def apply() -> None:
        one = Client()
        one.force_login(factories.user(is_staff=True))
        codes.append(post(one, f"plans/{number}/apply")[0])
        connection.close()

    people = [threading.Thread(target=apply) for _ in range(2)]
    for person in people:
        person.start()
    for person in people:
        person.join()
    assert sorted(codes) == [202, 409]
    assert Transition.objects.filter(replica=replica).count() == 1


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "less than 0.1 s"),
        (0.04, "less than 0.1 s"),
        (0.1, "about 0.1 s"),
        (2.06, "about 2.1 s"),
        (40.4, "about 40 s"),
    ],
)
def test_a_length_is_said_as_finely_as_it_is_known(seconds: float, words: str) -> None:
    assert plan_words.seconds(seconds) == words


def test_several_actions_are_one_plan_and_are_done_together_or_not_at_all(operator: Client) -> None:
    for name in ("chat", "code"):
        measured(factories.replica(deployment=factories.deployment(name=name, goal=Goal.READY)), wake_seconds=2)
    sleep = [{"verb": "sleep", "deployment": name} for name in ("chat", "code")]
    body = plan(operator, "all", actions=sleep)
    assert sorted(steps(body)) == [("chat", "sleeps"), ("code", "sleeps")]
    assert set(Replica.objects.values_list("goal", flat=True)) == {Goal.READY}
    assert post(operator, f"plans/{body['id']}/apply")[0] == 202
    assert set(Replica.objects.values_list("goal", flat=True)) == {Goal.SLEEPING}


def test_one_refused_action_refuses_all_of_them(operator: Client) -> None:
    measured(factories.replica(deployment=factories.deployment(name="chat", goal=Goal.READY)), wake_seconds=2)
    factories.replica(State.STOPPED, deployment=factories.deployment(name="off", sleep_enabled=False))
    sleep = [{"verb": "sleep", "deployment": name} for name in ("chat", "off")]
    body = plan(operator, "all", actions=sleep)
    assert body["outcome"]["refused"] is not None
    assert steps(body) == []
    assert post(operator, f"plans/{body['id']}/apply")[0] == 409
    assert Replica.objects.get(deployment__name="chat").goal == Goal.READY


@pytest.mark.parametrize(
    "actions", [None, [], "sleep", [{"verb": "all", "actions": []}], [{"verb": "sleep"}], [{"verb": "stop"}] * 101]
)
def test_what_is_no_list_of_actions_is_refused(operator: Client, actions: Any) -> None:
    status, body = post(operator, "plans", action={"verb": "all", "actions": actions})
    assert (status, body["code"]) == (400, "invalid_spec")
