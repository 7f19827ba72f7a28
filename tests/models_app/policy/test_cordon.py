"""A cordoned GPU takes nothing new, a drained one is emptied. No engine stands behind these replicas."""

from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from gpus import cordon
from gpus.models import GPU
from models_app.errors import GPUCordoned, NoCapacity
from models_app.lifecycle import fleet, scale, verbs
from models_app.lifecycle.setbacks import Setbacks
from models_app.memory import placement
from models_app.models import Decision, Deployment, Replica, Reservation, Transition
from models_app.policy import cordon as drains
from models_app.policy import demand
from models_app.states import Goal, State
from tests import factories
from tests.factories import GIB
from tests.models_app.policy.test_consent import large, look, post
from tests.models_app.policy.test_demand import now, say
from tests.models_app.policy.test_what_if import plan, steps

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator(client: Client) -> Client:
    client.force_login(factories.user("olive", is_staff=True))
    return client


@pytest.fixture
def gpus() -> tuple[GPU, GPU]:
    return factories.gpu(), factories.gpu()


def close(*gpus: GPU) -> None:
    cordon.cordon(gpus, by="olive")


def drain(gpu: GPU, **how: Any) -> None:
    drains.drain([gpu], actor="olive", **how)
    gpu.refresh_from_db()


def on(gpu: GPU, state: State = State.READY, **fields: Any) -> Replica:
    deployment = factories.deployment(goal=Goal.READY, **fields)
    return factories.replica(state, deployment=deployment, gpu=gpu)


def copy_of(replica: Replica) -> Replica:
    return replica.replacements.get()


def arrive(replica: Replica) -> None:
    """The move is over: its copy serves alone."""
    target = copy_of(replica)
    Replica.objects.filter(pk=target.pk).update(state=State.READY, deadline_at=None, replaces=None)
    replica.reservations.all().delete()
    replica.delete()


def test_nothing_new_comes_to_a_cordoned_gpu(gpus: tuple[GPU, GPU]) -> None:
    close(gpus[0])
    deployments = [factories.deployment() for _ in range(4)]
    for deployment in deployments:
        fleet.deploy(deployment, actor="ada")
    assert {row.gpu for row in Replica.objects.all()} == {gpus[1]}
    fleet.deploy(factories.deployment(name="waits"), actor="ada")
    waits = Deployment.objects.get(name="waits")
    assert (waits.reason, waits.placed.count()) == ("no_capacity", 0)
    cordon.uncordon(gpus[:1], by="olive")
    scale.bring_about(Setbacks())
    assert waits.placed.get().gpu == gpus[0]


def test_a_gpu_that_is_asked_for_by_name_refuses_and_says_how_that_ends(
    operator: Client, gpus: tuple[GPU, GPU]
) -> None:
    source = on(gpus[1])
    status, [row] = post(operator, "gpus/0/cordon", message="new fan")
    assert (status, row["enabled"]) == (202, False)
    assert (row["cordon"]["by"], row["cordon"]["message"], row["cordon"]["drain"]) == ("olive", "new fan", "")
    for path in (f"deployments/{factories.deployment().pk}/deploy", f"replicas/{source.pk}/move"):
        for evict in (False, True):
            status, body = post(operator, path, gpu=gpus[0].uuid, evict=evict)
            assert (status, body["code"]) == (503, "gpu_cordoned")
            assert "is cordoned by olive (new fan) and takes nothing new; `sardeenz gpu uncordon" in body["message"]
            assert body["fields"]["gpu"] == gpus[0].uuid
    post(operator, f"gpus/{gpus[0].uuid}/uncordon")
    assert post(operator, f"replicas/{source.pk}/move", gpu=gpus[0].uuid)[0] == 202


def test_what_fits_only_on_a_cordoned_gpu_waits_and_is_not_refused_for_good() -> None:
    small, big = factories.gpu(memory_bytes=24 * GIB), factories.gpu()
    close(big)
    deployment = factories.deployment(weights_bytes=60 * GIB)
    fleet.deploy(deployment, actor="ada")
    deployment.refresh_from_db()
    assert (deployment.reason, small.reservations.count()) == ("no_capacity", 0)


def test_what_runs_there_runs_on_and_wakes(gpus: tuple[GPU, GPU]) -> None:
    sleeper = on(gpus[0], State.SLEEPING)
    close(gpus[0])
    verbs.wake(sleeper, actor="ada")
    assert now(sleeper) == (Goal.READY, "wake")
    failed = on(gpus[0], State.FAILED)
    Replica.objects.filter(pk=failed.pk).update(restart_at=timezone.now(), port=None, reason="engine_exited")
    failed.refresh_from_db()
    with transaction.atomic():
        placement.hold_awake(failed)


@pytest.mark.parametrize("goal", [Goal.STOPPED, Goal.SLEEPING])
def test_one_without_an_engine_starts_on_another_gpu(operator: Client, gpus: tuple[GPU, GPU], goal: Goal) -> None:
    resting = on(gpus[0], State.STOPPED)
    Replica.objects.filter(pk=resting.pk).update(goal=goal)
    close(gpus[0])
    verb = "wake" if goal == Goal.SLEEPING else "start"
    assert post(operator, f"replicas/{resting.pk}/{verb}")[0] == 202
    other = resting.deployment.placed.exclude(pk=resting.pk).get()
    assert (other.gpu, other.goal) == (gpus[1], Goal.READY)
    assert now(resting) == (Goal.STOPPED, "placed_elsewhere")


def test_a_call_brings_a_model_that_rests_there_to_another_gpu(gpus: tuple[GPU, GPU]) -> None:
    resting, idle = large(State.STOPPED, gpu=gpus[0]), large(gpu=gpus[1])
    Replica.objects.filter(pk=resting.pk).update(goal=Goal.SLEEPING)
    close(gpus[0])
    say()
    demand.request_ready(resting.deployment_id)
    other = resting.deployment.placed.exclude(pk=resting.pk).get()
    assert (other.gpu, now(idle)[1]) == (gpus[1], "evicted")


def test_a_call_that_finds_no_other_gpu_is_told_so() -> None:
    resting = on(factories.gpu(), State.STOPPED)
    Replica.objects.filter(pk=resting.pk).update(goal=Goal.SLEEPING)
    close(resting.gpu)
    say()
    with pytest.raises(GPUCordoned):
        demand.request_ready(resting.deployment_id)
    assert now(resting)[0] == Goal.SLEEPING


def test_one_that_claimed_its_place_before_gives_the_claim_up() -> None:
    comer = on(factories.gpu(), State.STOPPED)
    verbs.set_goal(comer, Goal.READY, reason=placement.CLAIMED, actor="ada", restart_at=timezone.now())
    close(comer.gpu)
    look(comer)  # what is left of its last engine goes first
    look(comer)
    assert now(comer) == (Goal.READY, "gpu_cordoned")
    assert placement.free_bytes([comer.gpu])[comer.gpu.pk] == 79 * GIB, "it claims nothing meanwhile"
    other = factories.gpu()
    scale.bring_about(Setbacks())
    assert comer.deployment.placed.exclude(pk=comer.pk).get().gpu == other


def test_a_drain_moves_who_serves_and_who_sleeps(gpus: tuple[GPU, GPU]) -> None:
    serves, sleeps, stopped = on(gpus[0]), on(gpus[0], State.SLEEPING), on(gpus[0], State.STOPPED)
    drain(gpus[0], message="new driver")
    assert (gpus[0].enabled, gpus[0].drain, gpus[0].cordon_message) == (False, "move", "new driver")
    assert [copy_of(row).gpu for row in (serves, sleeps)] == [gpus[1], gpus[1]]
    assert [copy_of(row).goal for row in (serves, sleeps)] == [Goal.READY, Goal.SLEEPING]
    assert now(serves) == (Goal.READY, "drain")
    serves.refresh_from_db()
    assert serves.message == f"it moves away: GPU 0 of {gpus[0].node.name} is emptied (new driver)"
    assert now(stopped)[0] == Goal.STOPPED
    drains.settle()
    assert Replica.objects.count() == 5, "once is enough"
    gpus[0].refresh_from_db()
    assert gpus[0].drain == "move"
    arrive(serves)
    arrive(sleeps)
    drains.settle()
    gpus[0].refresh_from_db()
    assert (gpus[0].enabled, gpus[0].drain) == (False, "")
    words = list(Decision.objects.order_by("pk").values_list("code", "actor", "kind"))
    assert words == [("drain", "olive", "cordon"), ("drained", "olive", "cordon")]


def test_one_whose_second_gpu_is_drained_moves_as_well() -> None:
    lead, second, third = factories.gpu(), factories.gpu(), factories.gpu()
    deployment = factories.deployment(goal=Goal.READY, tensor_parallel=2)
    wide = factories.replica(deployment=deployment, gpu=lead, spec=factories.spec(deployment, lead, second))
    Reservation.objects.create(replica=wide, gpu=second, awake_bytes=18 * GIB, asleep_bytes=GIB, held_bytes=18 * GIB)
    drain(second)
    assert set(copy_of(wide).gpu_uuids) == {lead.uuid, third.uuid}


def test_what_no_other_gpu_takes_stays_and_says_why_until_there_is_room(gpus: tuple[GPU, GPU]) -> None:
    here, there = large(gpu=gpus[0]), large(gpu=gpus[1])
    drain(gpus[0])
    assert now(here) == (Goal.READY, "drain_waits")
    here.refresh_from_db()
    assert f"GPU 0 of {gpus[0].node.name} is emptied (maintenance), and no other GPU takes it: " in here.message
    drains.settle()
    assert Transition.objects.filter(replica=here).count() == 1
    there.reservations.all().delete()
    drains.settle()
    assert (copy_of(here).gpu, now(here)[1]) == (gpus[1], "drain")


def test_what_stayed_is_no_longer_told_to_go_once_the_drain_ends(gpus: tuple[GPU, GPU]) -> None:
    here, _ = large(gpu=gpus[0]), large(gpu=gpus[1])
    drain(gpus[0])
    cordon.uncordon([gpus[0]], by="olive")
    drains.settle()
    here.refresh_from_db()
    assert (here.reason, here.message, here.goal) == ("drain_over", "", Goal.READY)


def test_only_where_that_was_asked_for_it_ends(gpus: tuple[GPU, GPU]) -> None:
    serves, _ = large(gpu=gpus[0]), large(gpu=gpus[1])
    sleeps = on(gpus[0], State.SLEEPING, weights_bytes=60 * GIB)
    drain(gpus[0], stop=True)
    serves.refresh_from_db()
    assert (now(serves), serves.disposable) == ((Goal.STOPPED, "drain"), True)
    assert now(sleeps) == (Goal.SLEEPING, "demoted_to_stopped")
    assert "and no other GPU takes it" in Transition.objects.filter(replica=serves).latest("id").message


def test_one_that_loads_is_placed_elsewhere_and_one_between_two_states_waits(gpus: tuple[GPU, GPU]) -> None:
    loads, wakes = on(gpus[0], State.STARTING), on(gpus[0], State.WAKING)
    drain(gpus[0])
    assert now(loads) == (Goal.STOPPED, "placed_elsewhere")
    assert loads.deployment.placed.exclude(pk=loads.pk).get().gpu == gpus[1]
    assert now(wakes)[0] == Goal.READY
    Replica.objects.filter(pk=wakes.pk).update(state=State.READY, deadline_at=None)
    drains.settle()
    assert copy_of(wakes).gpu == gpus[1]


def test_a_move_that_failed_is_not_tried_again_at_once(gpus: tuple[GPU, GPU]) -> None:
    source = on(gpus[0])
    drain(gpus[0])
    copy_of(source).delete()
    drains.settle()
    assert not source.replacements.exists()
    Transition.objects.filter(reason="drain").update(at=timezone.now() - drains.AGAIN_TIME)
    drains.settle()
    assert copy_of(source).gpu == gpus[1]


def test_what_a_drain_would_do_is_told_first_and_done_by_the_plans_number(
    operator: Client, gpus: tuple[GPU, GPU]
) -> None:
    chat, stuck = on(gpus[0], name="chat"), on(gpus[0], name="stuck", weights_bytes=70 * GIB)
    body = plan(operator, "drain", gpu="0", message="new fan")
    assert steps(body) == [("chat", "loads"), ("chat", "stops")]
    lines = " ".join(body["outcome"]["lines"])
    assert "A new replica of chat loads on GPU 1" in lines
    assert f"stuck/{stuck.pk} stays: GPU 0 of {gpus[0].node.name} is emptied (new fan), and no other GPU" in lines
    gpus[0].refresh_from_db()
    assert (gpus[0].enabled, Decision.objects.count(), Replica.objects.count()) == (True, 0, 2)
    assert post(operator, f"plans/{body['id']}/apply")[0] == 202
    gpus[0].refresh_from_db()
    assert (gpus[0].enabled, copy_of(chat).gpu) == (False, gpus[1])


def test_a_plan_is_outdated_once_somebody_took_the_place(operator: Client, gpus: tuple[GPU, GPU]) -> None:
    here = large(gpu=gpus[0])
    body = plan(operator, "drain", gpu="0")
    large(gpu=gpus[1])
    status, refused = post(operator, f"plans/{body['id']}/apply")
    assert (status, refused["code"]) == (409, "plan_outdated")
    gpus[0].refresh_from_db()
    assert (gpus[0].enabled, here.replacements.exists()) == (True, False)


def test_a_node_is_all_its_gpus(operator: Client, gpus: tuple[GPU, GPU]) -> None:
    name = gpus[0].node.name
    status, found = post(operator, f"nodes/{name}/drain")
    assert (status, [row["cordon"]["drain"] for row in found]) == (202, ["move", "move"])
    status, found = post(operator, f"nodes/{name}/uncordon")
    assert [row["cordon"] for row in found] == [None, None]
    assert [post(operator, path)[0] for path in ("nodes/nowhere/cordon", "gpus/7/cordon")] == [404, 404]


def test_every_way_to_cordon_one_stands_in_the_history(
    client: Client, gpus: tuple[GPU, GPU], django_capture_on_commit_callbacks: Any
) -> None:
    client.force_login(factories.user("root", is_staff=True, is_superuser=True))
    client.patch(f"/api/gpus/{gpus[0].pk}", {"enabled": False}, content_type="application/json")
    client.post(reverse("admin:gpus_gpu_change", args=[gpus[0].pk]), {"headroom_bytes": GIB, "enabled": "on"})
    chosen = {"action": "cordon", "_selected_action": [gpus[1].pk]}
    client.post(reverse("admin:gpus_gpu_changelist"), chosen)
    told = client.get("/api/decisions", {"kind": "cordon"}).json()["results"]
    assert [one["code"] for one in told] == ["cordon", "uncordon", "cordon"]
    assert {one["actor"] for one in told} == {"root"}
    assert told[2]["sentence"] == f"GPU 0 of {gpus[0].node.name} is cordoned (maintenance) and takes nothing new"
    of_one = client.get("/api/decisions", {"gpu": gpus[1].uuid}).json()["results"]
    assert [one["code"] for one in of_one] == ["cordon"]


def test_who_may_not_change_anything_may_not_cordon(client: Client, gpus: tuple[GPU, GPU]) -> None:
    client.force_login(factories.user("vera"))
    assert [post(client, f"gpus/0/{verb}")[0] for verb in ("cordon", "drain", "uncordon")] == [403] * 3


@settings(max_examples=30, deadline=None)
@given(
    closed=st.sets(st.integers(0, 3)),
    drained=st.sets(st.integers(0, 3)),
    sizes=st.lists(st.tuples(st.integers(4, 70), st.integers(0, 3), st.booleans()), max_size=8),
)
def test_whatever_is_cordoned_nothing_comes_there(
    closed: set[int], drained: set[int], sizes: list[tuple[int, int, bool]]
) -> None:
    with transaction.atomic():
        gpus = [factories.gpu(index=index, uuid=f"GPU-{index}") for index in range(4)]
        placed = []
        for gib, index, asleep in sizes:
            row = on(gpus[index], State.SLEEPING if asleep else State.READY, weights_bytes=gib * GIB)
            if placement.free_bytes([gpus[index]])[gpus[index].pk] < 0:
                row.reservations.all().delete()
                row.delete()
            else:
                placed.append(row.pk)
        close(*(gpus[index] for index in closed))
        drains.drain([gpus[index] for index in drained], actor="olive")
        for gib, _, _ in sizes:
            fleet.deploy(factories.deployment(weights_bytes=gib * GIB), actor="ada")
        drains.settle()
        off = {gpus[index].pk for index in closed | drained}
        assert not off & set(Replica.objects.exclude(pk__in=placed).values_list("gpu", flat=True))
        assert set(Replica.objects.filter(pk__in=placed).values_list("pk", flat=True)) == set(placed), "nobody is ended"
        assert not Replica.objects.filter(pk__in=placed, goal=Goal.STOPPED).exists()
        assert min(placement.free_bytes(gpus).values()) >= 0
        for row in Replica.objects.filter(pk__in=placed, gpu__in=[gpus[index] for index in drained]):
            moves = row.replacements.exists()
            assert moves or row.reason == drains.STAYS, (row.state, row.reason)
        transaction.set_rollback(True)


def test_no_capacity_stays_what_callers_know() -> None:
    assert issubclass(GPUCordoned, NoCapacity)
