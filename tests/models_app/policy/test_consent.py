"""An operator needs room on a full GPU: what is offered, and what becomes of rows once the operator agrees.

No engine stands behind these replicas.
"""

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from gpus.models import GPU
from models_app.errors import NoCapacity
from models_app.lifecycle import observe, verbs
from models_app.lifecycle.reconcile import Reconciler
from models_app.memory import placement
from models_app.models import Deployment, Replica, Transition
from models_app.policy import consent
from models_app.states import Goal, State
from sardeenz.errors import SardeenzError
from tests import factories
from tests.factories import GIB
from tests.models_app.policy.test_demand import last, meet, now, say, waits

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator(client: Client) -> Client:
    client.force_login(factories.user("olive", is_staff=True))
    return client


def large(state: State = State.READY, seconds: float = 100, **fields: Any) -> Replica:
    """A 62 GiB model of which one fits on a GPU, in its state for so long."""
    gpu = fields.pop("gpu", None) or GPU.objects.first() or factories.gpu()
    deployment = factories.deployment(weights_bytes=60 * GIB, goal=Goal.READY, **fields)
    return factories.replica(
        state, deployment=deployment, gpu=gpu, state_at=timezone.now() - timedelta(seconds=seconds)
    )


def post(client: Client, path: str, **body: Any) -> tuple[int, Any]:
    answer = client.post(f"/api/{path}", body, content_type="application/json")
    return answer.status_code, answer.json()


def only(deployment: Deployment) -> Replica:
    return deployment.placed.get()


def look(replica: Replica) -> None:
    """What its GPU's worker does with it once."""
    worker = Reconciler(replica.gpu.uuid)
    row = next(row for row in worker._replicas() if row.pk == replica.pk)
    worker.step(row, observe.world(worker.remembered))
    replica.refresh_from_db()


def gone(replica: Replica) -> None:
    """It fell asleep."""
    Replica.objects.filter(pk=replica.pk).update(state=State.SLEEPING, deadline_at=None)
    replica.reservations.update(held_bytes=GIB)


def test_a_deploy_onto_a_full_gpu_is_refused_with_what_would_have_to_go(operator: Client) -> None:
    idle = large()
    Replica.objects.filter(pk=idle.pk).update(profile={"sleep_seconds": 1.5})
    say()
    wish = factories.deployment(weights_bytes=60 * GIB)
    status, body = post(operator, f"deployments/{wish.pk}/deploy", gpu=idle.gpu.uuid)
    assert (status, body["code"]) == (503, "no_capacity")
    assert f"`{idle.deployment.name}` can make room: ask again with evict" in body["message"]
    [offered] = body["fields"]["evictable"]
    assert (offered["replica"], offered["name"], offered["freed_bytes"]) == (idle.pk, idle.deployment.name, 61 * GIB)
    assert (offered["means"], offered["seconds"]) == ("sleep_1", 1.5)
    assert offered["why"].startswith("idle for 10")
    assert (now(idle), wish.placed.count()) == ((Goal.READY, ""), 0)


def test_told_so_it_evicts_and_both_histories_say_on_whose_word(operator: Client) -> None:
    idle = large()
    say()
    wish = factories.deployment(weights_bytes=60 * GIB)
    status, body = post(operator, f"deployments/{wish.pk}/deploy", gpu=idle.gpu.uuid, evict=True)
    assert (status, body["placed"]) == (202, 1)
    assert now(idle) == (Goal.SLEEPING, "evicted")
    assert (last(idle).actor, last(idle).fields["verdict"]) == ("olive", "evict")
    assert last(idle).fields["wanted"]["needs"] == {idle.gpu.uuid: 62 * GIB}
    come = only(wish)
    assert (come.state, come.goal, come.reason) == (State.STOPPED, Goal.READY, placement.CLAIMED)
    assert come.message == f"starts once `{idle.deployment.name}` made room"
    look(come)  # its neighbour has not gone yet
    assert (come.state, come.reason) == (State.STOPPED, placement.CLAIMED)
    gone(idle)
    look(come)
    assert (come.state, come.goal) == (State.PENDING, Goal.READY)
    assert come.reservations.get().held_bytes == 62 * GIB


def test_where_it_fits_the_word_changes_nothing(operator: Client) -> None:
    idle, roomy = large(), factories.gpu()
    say()
    wish = factories.deployment(weights_bytes=60 * GIB)
    assert post(operator, f"deployments/{wish.pk}/deploy", evict=True)[0] == 202
    assert (now(idle), only(wish).gpu, only(wish).state) == ((Goal.READY, ""), roomy, State.PENDING)


def test_one_request_makes_the_deployment_and_its_room(operator: Client) -> None:
    idle = large()
    say()
    sizes = {"weights_bytes": 60 * GIB, "overhead_bytes": GIB, "kv_floor_bytes": GIB}
    body = {"name": "fresh", "model": idle.deployment.model_id, "deploy": True, "evict": True}
    assert post(operator, "deployments", **body, **sizes)[0] == 201
    assert now(idle) == (Goal.SLEEPING, "evicted")
    assert only(Deployment.objects.get(name="fresh")).reason == placement.CLAIMED


def test_of_two_gpus_the_one_whose_model_is_missed_least_is_cleared(operator: Client) -> None:
    other = factories.gpu()
    dear, cheap = large(priority=5, gpu=other), large(gpu=factories.gpu())
    say()
    wish = factories.deployment(weights_bytes=60 * GIB)
    post(operator, f"deployments/{wish.pk}/deploy", evict=True)
    assert (now(dear)[0], now(cheap)[0]) == (Goal.READY, Goal.SLEEPING)


def test_a_model_on_two_gpus_clears_both(operator: Client) -> None:
    one, two = factories.gpu(), factories.gpu()
    idle = [large(gpu=one), large(gpu=two), large(gpu=factories.gpu(), pinned=True)]
    say()
    wish = factories.deployment(weights_bytes=60 * GIB, tensor_parallel=2)
    post(operator, f"deployments/{wish.pk}/deploy", evict=True)
    assert [now(row)[0] for row in idle] == [Goal.SLEEPING, Goal.SLEEPING, Goal.READY]
    assert set(only(wish).gpu_uuids) == {one.uuid, two.uuid}


def test_who_must_stay_stays_whatever_the_operator_says(operator: Client) -> None:
    kept = large(pinned=True)
    say()
    wish = factories.deployment(weights_bytes=60 * GIB)
    for told in (False, True):
        status, body = post(operator, f"deployments/{wish.pk}/deploy", gpu=kept.gpu.uuid, evict=told)
        assert (status, body["code"]) == (503, "no_capacity")
        assert f"what has to stay: `{kept.deployment.name}`" in body["message"]
    assert (now(kept)[0], wish.placed.count()) == (Goal.READY, 0)


def test_a_copy_does_not_take_the_place_of_another(operator: Client) -> None:
    serving = large()
    say()
    Deployment.objects.filter(pk=serving.deployment_id).update(replicas=2)
    status, body = post(operator, f"deployments/{serving.deployment_id}/deploy", gpu=serving.gpu.uuid, evict=True)
    assert (status, "another replica of the same model" in body["message"]) == (503, True)
    assert now(serving)[0] == Goal.READY


@pytest.mark.parametrize("verb", ["wake", "start"])
@pytest.mark.parametrize("of", ["replicas", "deployments"])
def test_a_sleeper_is_woken_over_an_idle_neighbour(operator: Client, verb: str, of: str) -> None:
    idle, wanted = large(), large(State.SLEEPING)
    say()
    path = f"{of}/{wanted.pk if of == 'replicas' else wanted.deployment_id}/{verb}"
    if verb == "wake":
        status, body = post(operator, path)
        assert (status, [one["replica"] for one in body["fields"]["evictable"]]) == (503, [idle.pk])
        assert now(idle)[0] == Goal.READY
    assert post(operator, path, evict=True)[0] == 202
    assert (now(idle), now(wanted)) == ((Goal.SLEEPING, "evicted"), (Goal.READY, placement.CLAIMED))


@pytest.mark.parametrize("state", [State.STOPPED, State.FAILED])
@pytest.mark.parametrize("of", ["replicas", "deployments"])
def test_one_without_an_engine_is_started_over_an_idle_neighbour(operator: Client, state: State, of: str) -> None:
    idle, wanted = large(), large(state)
    Replica.objects.filter(pk=wanted.pk).update(port=None, ipc_name="")
    wanted.reservations.update(held_bytes=0)
    say()
    path = f"{of}/{wanted.pk if of == 'replicas' else wanted.deployment_id}/start"
    assert post(operator, path, evict=True)[0] == 202
    assert (now(idle), now(wanted)) == ((Goal.SLEEPING, "evicted"), (Goal.READY, placement.CLAIMED))
    gone(idle)
    look(wanted)
    assert (wanted.state, wanted.goal) == (State.PENDING, Goal.READY)


@pytest.mark.parametrize("state", [State.READY, State.SLEEPING])
def test_a_move_clears_the_gpu_it_goes_to_and_takes_its_own_settings_along(operator: Client, state: State) -> None:
    source, idle = large(state), large(gpu=factories.gpu())
    Replica.objects.filter(pk=source.pk).update(spec=source.spec | {"extra_args": ["--seed=7"]})
    say()
    path = f"replicas/{source.pk}/move"
    status, body = post(operator, path, gpu=idle.gpu.uuid)
    assert (status, [one["replica"] for one in body["fields"]["evictable"]]) == (503, [idle.pk])
    status, body = post(operator, path, gpu=idle.gpu.uuid, evict=True)
    assert (status, now(idle)) == (202, (Goal.SLEEPING, "evicted"))
    copy = Replica.objects.get(pk=body["id"])
    assert (copy.replaces_id, copy.reason) == (source.pk, placement.CLAIMED)
    gone(idle)
    look(copy)
    source.refresh_from_db()
    assert (copy.state, copy.goal, copy.spec["extra_args"]) == (State.PENDING, source.goal, ["--seed=7"])


def test_a_move_whose_room_does_not_come_leaves_its_source_as_it_was(operator: Client) -> None:
    source, idle = large(), large(gpu=factories.gpu())
    say()
    _, body = post(operator, f"replicas/{source.pk}/move", gpu=idle.gpu.uuid, evict=True)
    refuses(idle)
    copy = Replica.objects.get(pk=body["id"])
    look(copy)
    assert (copy.goal, copy.reason, copy.disposable) == (Goal.STOPPED, "move_failed", True)
    source.refresh_from_db()
    assert (source.state, source.goal) == (State.READY, Goal.READY)
    assert f"`{idle.deployment.name}` did not go: the engine refused to sleep" in source.message


def refuses(replica: Replica) -> None:
    """Its engine did not want to sleep."""
    replica.refresh_from_db()
    verbs.set_goal(
        replica, Goal.READY, reason="sleep_given_up", actor="worker", message="the engine refused to sleep: 500"
    )


def test_an_eviction_that_fails_midway_books_nothing_twice_and_says_so(operator: Client) -> None:
    idle = large()
    say()
    wish = factories.deployment(weights_bytes=60 * GIB)
    post(operator, f"deployments/{wish.pk}/deploy", evict=True)
    refuses(idle)
    come = only(wish)
    look(come)
    assert (come.state, come.goal, come.reason) == (State.STOPPED, Goal.READY, "no_capacity")
    assert f"`{idle.deployment.name}` did not go: the engine refused to sleep: 500" in come.message
    assert placement.free_bytes([idle.gpu])[idle.gpu.pk] == placement.free_later([idle.gpu])[idle.gpu.pk] == 17 * GIB


def test_an_engine_that_dies_while_it_makes_room_has_made_it(operator: Client) -> None:
    idle = large()
    say()
    wish = factories.deployment(weights_bytes=60 * GIB)
    post(operator, f"deployments/{wish.pk}/deploy", evict=True)
    Replica.objects.filter(pk=idle.pk).update(state=State.FAILED, reason="engine_exited", restart_at=timezone.now())
    come = only(wish)
    look(come)
    assert (come.state, come.reason) == (State.STOPPED, placement.CLAIMED)
    idle.reservations.update(held_bytes=0)
    look(come)
    assert come.state == State.PENDING


@pytest.mark.django_db(transaction=True)
def test_of_two_operators_at_once_one_gets_the_room_and_the_other_waits() -> None:
    idle = large()
    say()
    wishes = [factories.deployment(weights_bytes=60 * GIB) for _ in range(2)]
    meet(*[lambda wish=wish: consent.deploy(wish, actor=wish.name, gpu=idle.gpu, evict=True) for wish in wishes])
    assert now(idle) == (Goal.SLEEPING, "evicted")
    come = [row for wish in wishes for row in wish.placed.all()]
    assert sorted(row.reason for row in come) == [placement.CONSENTED, placement.CLAIMED]
    assert placement.free_later([idle.gpu])[idle.gpu.pk] >= 0


def test_a_busy_model_may_finish_and_the_wish_waits_its_bound(operator: Client) -> None:
    busy = large()
    say({busy.marker: 3})
    wish = factories.deployment(weights_bytes=60 * GIB)
    assert post(operator, f"deployments/{wish.pk}/deploy", evict=True)[0] == 202
    come = only(wish)
    assert (now(busy)[0], come.goal, come.reason) == (Goal.READY, Goal.READY, placement.CONSENTED)
    assert "is in use and may stay until" in come.message
    assert last(come).fields["residents"][0]["in_flight"] == 3
    look(come)  # it waits, and its worker leaves it waiting
    consent.settle()
    assert (now(busy)[0], now(come)) == (Goal.READY, (Goal.READY, placement.CONSENTED))
    Transition.objects.filter(replica=come).update(at=timezone.now() - timedelta(seconds=31))
    consent.settle()
    assert (now(busy), now(come)) == ((Goal.SLEEPING, "evicted"), (Goal.READY, placement.CLAIMED))
    assert last(busy).actor == "olive"


def test_a_sleeper_that_waits_with_consent_can_be_called_off(operator: Client) -> None:
    busy, wanted = large(), large(State.SLEEPING)
    say({busy.marker: 1})
    assert post(operator, f"replicas/{wanted.pk}/wake", evict=True)[0] == 202
    assert now(wanted) == (Goal.SLEEPING, placement.CONSENTED)
    assert post(operator, f"replicas/{wanted.pk}/cancel")[0] == 202
    Transition.objects.update(at=timezone.now() - timedelta(seconds=31))
    consent.settle()
    assert (now(busy)[0], now(wanted)) == (Goal.READY, (Goal.SLEEPING, "cancelled"))


def test_one_that_was_pinned_meanwhile_ends_the_wait_in_words(operator: Client) -> None:
    busy = large()
    say({busy.marker: 1})
    wish = factories.deployment(weights_bytes=60 * GIB)
    post(operator, f"deployments/{wish.pk}/deploy", evict=True)
    Deployment.objects.filter(pk=busy.deployment_id).update(pinned=True)
    consent.settle()
    come = only(wish)
    assert (come.goal, come.reason) == (Goal.READY, "no_capacity")
    assert f"what has to stay: `{busy.deployment.name}` (pinned)" in come.message


def test_an_operator_and_callers_take_turns_by_who_is_due_first(operator: Client) -> None:
    idle, asked, wanted = large(), large(State.SLEEPING), large(State.SLEEPING)
    say({}, waits(asked, 20))
    assert post(operator, f"replicas/{wanted.pk}/wake", evict=True)[0] == 202
    assert (now(idle)[0], now(wanted)) == (Goal.READY, (Goal.SLEEPING, placement.CONSENTED))
    assert f"`{asked.deployment.name}` has waited longer" in wanted.message


def test_nobody_is_evicted_on_an_operators_word_while_no_gateway_is_heard(operator: Client) -> None:
    idle = large()
    wish = factories.deployment(weights_bytes=60 * GIB)
    assert post(operator, f"deployments/{wish.pk}/deploy", evict=True)[0] == 202
    assert (now(idle)[0], only(wish).reason) == (Goal.READY, placement.CONSENTED)


def test_where_it_fits_is_answered_with_who_would_have_to_go(operator: Client) -> None:
    idle, pinned = large(), large(gpu=factories.gpu(), pinned=True)
    say()
    wish = factories.deployment(weights_bytes=60 * GIB)
    answer = operator.get(
        "/api/deployments/fit", {"deployment": wish.name, "weights_bytes": 60 * GIB, "overhead_bytes": GIB}
    ).json()
    by_gpu = {one["gpu"]: [each["replica"] for each in one["evictable"]] for one in answer["gpus"]}
    assert by_gpu == {idle.gpu_id: [idle.pk], pinned.gpu_id: []}
    assert [each["replica"] for each in answer["evictable"]] == [idle.pk]
    moved = operator.get(f"/api/replicas/{pinned.pk}/fit").json()
    assert [each["replica"] for one in moved["gpus"] for each in one["evictable"]] == [idle.pk]
    assert (now(idle)[0], Transition.objects.count()) == (Goal.READY, 0)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["deploy", "wake", "start", "sleep", "stop", "settle", "fell asleep", "later"]),
            st.integers(0, 4),
            st.sampled_from([0, 1]),
        ),
        max_size=14,
    )
)
def test_no_order_of_verbs_promises_a_gpu_twice(steps: list[tuple[str, int, int]]) -> None:
    with transaction.atomic():
        gpus = [factories.gpu(), factories.gpu()]
        wishes = [factories.deployment(weights_bytes=size * GIB) for size in (60, 50, 40, 30, 20)]
        say()
        for verb, number, which in steps:
            wish, gpu = wishes[number], gpus[which]
            try:
                with transaction.atomic():
                    _act(verb, wish, gpu)
            except SardeenzError:
                pass  # refused: nothing may have changed
            later = placement.free_later(gpus)
            assert all(free >= 0 for free in later.values()), (verb, later)
            held = {each.pk: sum(row.held_bytes for row in each.reservations.all()) for each in gpus}
            assert all(held[each.pk] <= each.memory_bytes - each.headroom_bytes for each in gpus), (verb, held)
        transaction.set_rollback(True)


def _act(verb: str, wish: Deployment, gpu: GPU) -> None:
    placed = wish.placed.filter(disposable=False).first()
    if verb == "deploy":
        consent.deploy(wish, actor="ada", gpu=gpu, evict=True)
    elif verb == "settle":
        consent.settle()
    elif verb == "later":
        Replica.objects.exclude(state=State.SLEEPING).filter(state=State.PENDING).update(
            state=State.READY, deadline_at=None
        )
        Replica.objects.update(state_at=timezone.now() - timedelta(seconds=100))
        Transition.objects.update(at=timezone.now() - timedelta(seconds=100))
    elif verb == "fell asleep":
        for row in Replica.objects.filter(goal=Goal.SLEEPING, state=State.READY):
            gone(row)
        for row in Replica.objects.filter(goal=Goal.READY, state__in=[State.SLEEPING, State.STOPPED]):
            try:
                placement.hold_awake(row)
            except NoCapacity:
                continue
            Replica.objects.filter(pk=row.pk).update(state=State.READY, reason="awake")
    elif placed is not None and verb == "wake":
        consent.wake(placed, actor="bob", evict=True)
    elif placed is not None and verb == "start":
        consent.start(placed, actor="bob", evict=True)
    elif placed is not None:
        getattr(verbs, verb)(placed, actor="bob")
