"""/api/replicas: rows to read, verbs that answer 202 with the row or say why not."""

from typing import Any

import pytest
from django.test import Client

from models_app.engines import logs
from models_app.models import Replica, Transition
from models_app.states import Goal, State
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator(client: Client) -> Client:
    client.force_login(factories.user("olive", is_staff=True))
    return client


def post(client: Client, replica: Replica, verb: str, **fields: object) -> tuple[int, dict[str, Any]]:
    answer = client.post(f"/api/replicas/{replica.pk}/{verb}", fields, content_type="application/json")
    return answer.status_code, answer.json()


def test_a_replica_is_shown_with_its_bytes_and_verbs(operator: Client) -> None:
    replica = factories.replica()
    row = operator.get(f"/api/replicas/{replica.pk}").json()
    assert (row["state"], row["goal"], row["marker"]) == ("ready", "ready", f"{replica.pk}:1")
    assert row["reservations"][0]["held_bytes"] == 18 * factories.GIB
    assert row["verbs"]["sleep"] is None
    assert row["verbs"]["wake"] == "it is ready, not asleep"
    assert operator.get("/api/replicas").json()["results"] == [row]


def test_replicas_are_found_by_deployment(operator: Client) -> None:
    first, other = factories.replica(), factories.replica()
    found = operator.get(f"/api/replicas?deployment={first.deployment_id}").json()
    assert [row["id"] for row in found["results"]] == [first.pk]
    assert other.pk != first.pk
    assert operator.get("/api/replicas?deployment=x").json()["code"] == "invalid_spec"


@pytest.mark.parametrize(
    ("verb", "state", "goal"),
    [
        ("start", State.STOPPED, Goal.READY),
        ("stop", State.READY, Goal.STOPPED),
        ("sleep", State.READY, Goal.SLEEPING),
        ("wake", State.SLEEPING, Goal.READY),
        ("cancel", State.STARTING, Goal.STOPPED),
        ("restart", State.READY, Goal.STOPPED),
    ],
)
def test_a_verb_is_accepted_with_the_row_it_changed(operator: Client, verb: str, state: State, goal: Goal) -> None:
    replica = factories.replica(state)
    status, row = post(operator, replica, verb)
    assert (status, row["id"], row["goal"]) == (202, replica.pk, goal)
    assert Transition.objects.get(replica=replica).actor == "olive"


def test_sleep_takes_a_level_and_no_other(operator: Client) -> None:
    replica = factories.replica()
    assert post(operator, replica, "sleep", level=3)[0] == 400
    assert post(operator, replica, "sleep", level=2)[1]["sleep_level"] == 2


def test_a_verb_the_state_does_not_allow_is_a_conflict_in_words(operator: Client) -> None:
    status, body = post(operator, factories.replica(State.STOPPED), "sleep")
    assert (status, body["code"]) == (409, "illegal_transition")
    assert body["fields"] == {"state": "stopped", "wanted": "sleeping"}
    assert "stopped" in body["message"]


def test_a_move_answers_with_the_copy(operator: Client) -> None:
    source, target = factories.gpu(), factories.gpu()
    replica = factories.replica(gpu=source)
    status, row = post(operator, replica, "move", gpu=target.uuid)
    assert (status, row["replaces"], row["gpu"], row["state"]) == (202, replica.pk, target.pk, "pending")
    assert operator.get(f"/api/replicas/{replica.pk}").json()["verbs"]["move"].startswith("it is one side")


def test_a_move_without_room_says_how_much_is_missing(operator: Client) -> None:
    source, target = factories.gpu(), factories.gpu()
    factories.replica(gpu=target, deployment=factories.deployment(weights_bytes=70 * factories.GIB))
    status, body = post(operator, factories.replica(gpu=source), "move", gpu=target.uuid)
    assert (status, body["code"]) == (503, "no_capacity")
    assert body["fields"]["needed_bytes"] == 18 * factories.GIB
    assert body["fields"]["free_bytes"] < 10 * factories.GIB


@pytest.mark.parametrize("gpu", ["GPU-nowhere", 10**9, None, True, [1]])
def test_a_move_to_no_gpu_of_ours_is_refused_at_its_field(operator: Client, gpu: object) -> None:
    status, body = post(operator, factories.replica(), "move", gpu=gpu)
    assert (status, list(body["fields"])) == (400, ["gpu"])


def test_the_end_of_a_log_is_served(operator: Client) -> None:
    replica = factories.replica()
    log = logs.path(replica.pk, 1, replica.deployment.name)
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("".join(f"line {number}\n" for number in range(20)))
    body = operator.get(f"/api/replicas/{replica.pk}/logs?lines=2").json()
    assert body == {"replica": replica.pk, "generation": 1, "lines": ["line 18", "line 19"]}
    assert operator.get(f"/api/replicas/{replica.pk}/logs?generation=2").json()["lines"] == []
    assert operator.get(f"/api/replicas/{replica.pk}/logs?lines=0").status_code == 400


def test_history_is_newest_first_and_found_by_replica(operator: Client) -> None:
    replica, other = factories.replica(), factories.replica()
    for verb in ("sleep", "wake"):
        post(operator, replica, verb)
    post(operator, other, "stop")
    found = operator.get(f"/api/transitions?replica={replica.pk}").json()["results"]
    assert [row["reason"] for row in found] == ["wake", "sleep"]
    assert operator.get(f"/api/transitions?deployment={other.deployment.name}").json()["count"] == 1


def test_there_is_no_replica_made_or_removed_by_hand(operator: Client) -> None:
    replica = factories.replica()
    assert operator.post("/api/replicas", {}).status_code == 405
    assert operator.delete(f"/api/replicas/{replica.pk}").status_code == 405
