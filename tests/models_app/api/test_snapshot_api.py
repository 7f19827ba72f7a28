"""The snapshot: everything a page begins with, however much there is, in a fixed number of queries."""

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from models_app import rows, snapshot
from models_app.states import State
from tests import factories

pytestmark = pytest.mark.django_db
QUERIES = 6  # nodes, GPUs, deployments, replicas, their reservations, their replacements


def test_what_is_reserved_of_a_gpu_is_the_sum_of_what_is_held() -> None:
    gpu = factories.gpu()
    factories.replica(gpu=gpu)
    factories.replica(State.SLEEPING, gpu=gpu)
    factories.replica(State.STOPPED, gpu=gpu)
    (row,) = snapshot.take()["gpus"]
    assert row["reserved_bytes"] == (18 + 1) * factories.GIB
    assert rows.gpu_row(gpu) == row


@pytest.mark.parametrize("count", [1, 5])
def test_a_snapshot_takes_the_same_queries_for_any_fleet(
    count: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(count):
        factories.replica(gpu=factories.gpu())
    with django_assert_num_queries(QUERIES):
        taken = snapshot.take()
    assert len(taken["replicas"]) == len(taken["gpus"]) == len(taken["deployments"]) == count


def test_the_api_serves_the_snapshot(client: Client) -> None:
    client.force_login(factories.user())
    factories.replica()
    assert client.get("/api/snapshot").json() == snapshot.take()


@pytest.mark.parametrize("path", ["replicas", "deployments", "transitions"])
def test_a_list_takes_the_same_queries_for_any_fleet(
    client: Client, path: str, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    client.force_login(factories.user())
    for _ in range(5):
        factories.replica(gpu=factories.gpu())
    with django_assert_max_num_queries(6):
        assert client.get(f"/api/{path}").status_code == 200


@pytest.mark.parametrize("state", list(State))
def test_every_verb_is_either_allowed_or_told_why_not(state: State) -> None:
    row = rows.replica_row(factories.replica(state))
    assert set(row["verbs"]) == {"start", "stop", "restart", "sleep", "wake", "move", "cancel"}
    assert all(reason is None or reason for reason in row["verbs"].values())


def test_what_was_seen_to_be_nothing_is_shown_as_nothing() -> None:
    replica = factories.replica(profile={"overhead_bytes": 0})
    assert rows.replica_row(replica)["overhead_bytes"] == 0
