"""Going to sleep has a time of its own, which begins when the drain is over."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from django.conf import settings
from django.utils import timezone

from models_app.engines.client import EngineClient
from models_app.lifecycle import sleeping, verbs
from models_app.lifecycle.next_step import Effect, Seen, Step, next_step
from models_app.models import Replica
from models_app.states import Goal, State
from sardeenz import events
from tests import factories
from tests.models_app.lifecycle.sights import sight

pytestmark = pytest.mark.django_db
SLEEP = Step(None, Effect.SLEEP, "drained")


class _Sleeps(BaseHTTPRequestHandler):
    """An engine that takes /sleep at once, like vLLM while it still copies its weights."""

    def do_POST(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def engine_port() -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), _Sleeps)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    yield server.server_port
    server.shutdown()
    serving.join()
    server.server_close()


@pytest.fixture
def draining(engine_port: int) -> Replica:
    """Almost at the end of its drain."""
    entered = timezone.now() - timedelta(seconds=settings.DRAIN_SECONDS - 1)
    ends = entered + timedelta(seconds=settings.DRAIN_SECONDS)
    given = {"goal": Goal.SLEEPING, "state_at": entered, "deadline_at": ends, "port": engine_port}
    return factories.replica(State.DRAINING, address="127.0.0.1", **given)


def test_the_time_to_sleep_counts_from_the_command_and_not_from_the_drain(draining: Replica) -> None:
    assert not verbs.sleep_began(draining)
    before = timezone.now()
    sleeping.sleep(sight(draining), SLEEP)
    draining.refresh_from_db()
    assert draining.deadline_at is not None
    given = timedelta(seconds=settings.SLEEP_SECONDS)
    assert before + given <= draining.deadline_at <= timezone.now() + given
    assert verbs.sleep_began(draining)


def test_telling_it_again_gives_no_more_time(draining: Replica) -> None:
    sleeping.sleep(sight(draining), SLEEP)
    draining.refresh_from_db()
    deadline = draining.deadline_at
    sleeping.sleep(sight(draining), SLEEP)
    draining.refresh_from_db()
    assert draining.deadline_at == deadline


def test_a_sleeper_found_awake_gets_no_deadline(engine_port: int) -> None:
    sleeper = factories.replica(State.SLEEPING, address="127.0.0.1", port=engine_port)
    sleeping.sleep(sight(sleeper), SLEEP)
    sleeper.refresh_from_db()
    assert sleeper.deadline_at is None


@pytest.mark.parametrize(
    ("began", "reason", "words"),
    [(False, "drain_timeout", "requests were still running"), (True, "sleep_timeout", "did not fall asleep")],
)
def test_what_took_too_long_is_said(draining: Replica, began: bool, reason: str, words: str) -> None:
    overdue = Seen(alive=True, healthy=True, asleep=False, overdue=True, sleep_began=began)
    step = next_step(State.DRAINING, Goal.SLEEPING, overdue)
    assert (step.to, step.effect, step.reason) == (State.READY, Effect.GIVE_UP, reason)
    sleeping.stay_awake(sight(draining), step)
    assert words in draining.message


@pytest.mark.parametrize(("level", "learned"), [(1, "wake_seconds"), (2, "deep_wake_seconds")])
def test_what_a_wake_took_is_learned_also_where_the_command_was_not_waited_for(level: int, learned: str) -> None:
    began = timezone.now() - timedelta(seconds=40)
    replica = factories.replica(State.WAKING, goal=Goal.READY, state_at=began, sleep_level=level, port=1)
    sleeping.awake(sight(replica), Step(State.READY, None, "awake"))
    replica.refresh_from_db()
    assert 40 <= replica.profile[learned] < 100


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("lasts", [False, True])
def test_gateways_hear_of_a_wake_that_lasts_and_not_of_the_claim_before_it(
    lasts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard, over = list[str](), threading.Event()

    def hear() -> None:
        heard.append(Replica.objects.get().state)
        over.set()

    if not lasts:
        over.set()
    monkeypatch.setattr(sleeping, "AT_ONCE_SECONDS", 0.0 if lasts else 30.0)
    monkeypatch.setattr(EngineClient, "wake", lambda *_, **__: over.wait(30))
    monkeypatch.setattr(events, "routes_changed", hear)
    sleeper = factories.replica(State.SLEEPING)
    verbs.wake(sleeper, actor="ada")
    assert heard == []
    sleeper.refresh_from_db()
    assert sleeping.wake(sight(sleeper), Step(State.WAKING, Effect.WAKE, "wake"))
    assert heard == ([State.WAKING] if lasts else [])
