"""The servers behind the tests are the real ones."""

import pytest
from django.db import connection

from models_app.states import State
from sardeenz import redis
from tests import factories


@pytest.mark.django_db
def test_tests_run_on_postgresql() -> None:
    assert connection.vendor == "postgresql"


def test_every_test_starts_with_an_empty_valkey() -> None:
    assert redis.client().dbsize() == 0
    redis.client().set("left", "over")


@pytest.mark.django_db
@pytest.mark.parametrize("state", list(State))
def test_a_replica_can_be_made_in_any_state(state: State) -> None:
    assert factories.replica(state).state == state
