"""When a replica starts again: starts that came to nothing count, an engine that served does not."""

from datetime import timedelta

import pytest
from django.conf import settings
from django.utils import timezone

from models_app.lifecycle import ending
from models_app.states import LIVE, State
from tests import factories

pytestmark = pytest.mark.django_db
SERVING = sorted(LIVE - {State.STARTING})


def pauses(state: State, ready_seconds: float | None, ends: int = 8) -> list[float | None]:
    """Seconds until each next start, of an engine that ends again and again after so long in `ready`."""
    ready_at = None if ready_seconds is None else timezone.now() - timedelta(seconds=ready_seconds)
    replica = factories.replica(state, ready_at=ready_at)
    found: list[float | None] = []
    for _ in range(ends):
        changes = ending.backoff(replica, permanent=False)
        replica.restarts = changes["restarts"]
        again = changes["restart_at"]
        found.append(again and round((again - timezone.now()).total_seconds()))
    return found


@pytest.mark.parametrize("state", SERVING)
def test_an_engine_that_served_starts_again_at_once_however_often_it_ends(state: State) -> None:
    assert pauses(state, ready_seconds=15) == [1] * 8


@pytest.mark.parametrize("state", SERVING)
def test_one_that_ends_as_soon_as_it_is_ready_did_not_serve(state: State) -> None:
    assert pauses(state, ready_seconds=1) == [1, 2, 4, 8, 16, None, None, None]
    assert settings.RESTART_LIMIT == 5


def test_the_time_that_an_earlier_engine_served_excuses_no_start_that_fails() -> None:
    assert pauses(State.STARTING, ready_seconds=86400) == [1, 2, 4, 8, 16, None, None, None]
    assert pauses(State.STARTING, ready_seconds=None) == [1, 2, 4, 8, 16, None, None, None]


def test_what_no_start_can_mend_is_not_started_again() -> None:
    replica = factories.replica(State.READY, ready_at=timezone.now() - timedelta(hours=1))
    assert ending.backoff(replica, permanent=True)["restart_at"] is None
