"""What open records used is worked out from the engine's own counters, never at the cost of the wrong caller."""

import asyncio
import http.server
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest
import redis.asyncio
from django.conf import settings
from django.db.models import Sum
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from gateway.metering.meter import DROPPED
from gateway.metering.settlement import Settlement, shares
from gateway.metering.usage_rows import write_usage
from gateway.models import EngineAccount, UsageHour, UsageRecord
from gateway.tasks import prune_usage
from gateway.wire.usage import NOTHING, Usage
from models_app.models import Replica
from models_app.states import State
from models_app.traffic import activity
from sardeenz.redis import client, key
from tests import factories
from tests.gateway.metering.test_usage_rows import AT, record

pytestmark = pytest.mark.django_db


@dataclass
class Metrics:
    """An engine's /metrics."""

    prompt_tokens: int = 0
    generation_tokens: int = 0
    running: int = 0
    waiting: int = 0

    def text(self) -> bytes:
        values = {
            "num_requests_running": self.running,
            "num_requests_waiting": self.waiting,
            "prompt_tokens_total": self.prompt_tokens,
            "generation_tokens_total": self.generation_tokens,
        }
        return "".join(f'vllm:{name}{{engine="0"}} {value}.0\n' for name, value in values.items()).encode()


class Engine:
    """Serves its metrics; stands behind a replica."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        metrics = self.metrics

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(metrics.text())

            def log_message(self, *args: object) -> None: ...

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        address, port = str(self._server.server_address[0]), int(self._server.server_address[1])
        self.replica: Replica = factories.replica(State.READY, address=address, port=port, generation=3)

    def used(self, usage: Usage = NOTHING, *, counted: Usage | None = None, **changes: object) -> None:
        """A call took this by its usage, or by the counters alone."""
        for name, tokens in zip(("prompt_tokens", "generation_tokens"), counted or usage, strict=False):
            setattr(self.metrics, name, getattr(self.metrics, name) + (tokens or 0))
        write_usage([record(usage=usage, replica_id=self.replica.pk, generation=3, **changes)])

    def cancelled(self, prompt: int, completion: int, **changes: object) -> None:
        self.used(Usage(), counted=Usage(prompt, completion), outcome="cancelled", **changes)

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def account(self) -> EngineAccount:
        return EngineAccount.objects.get(replica_id=self.replica.pk, generation=3)


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine()
    yield engine
    engine.stop()


def report(gateway_id: str = "g", *, leases: dict[str, int] | None = None, written: float | None = None) -> None:
    """What a gateway says; unless told, all it knows is written, and was for long enough."""

    async def say() -> None:
        async with redis.asyncio.Redis.from_url(settings.REDIS_URL, decode_responses=True) as connection:
            until = time.time() + 60 if written is None else written
            await activity.areport(connection, gateway_id, [], leases or {}, {}, until)

    asyncio.run(say())


def passes(count: int = 2, settlement: Settlement | None = None) -> None:
    settlement = settlement or Settlement()
    for _ in range(count):
        settlement.settle()


def rows() -> list[tuple[int | None, int | None, str]]:
    found = UsageRecord.objects.order_by("pk").values_list("prompt_tokens", "completion_tokens", "told")
    return [tuple(row) for row in found]


def test_the_difference_is_divided_among_the_open_records(engine: Engine) -> None:
    report()
    key_, _ = factories.api_key()
    engine.used(Usage(10, 5), key_id=key_.pk)
    engine.cancelled(30, 12, body_bytes=300, pieces=3, key_id=key_.pk)
    engine.cancelled(10, 3, body_bytes=100, pieces=9)
    passes()
    assert rows() == [(10, 5, "answer"), (30, 3, "counters"), (10, 12, "counters")]
    sums = {"p": Sum("prompt_tokens"), "c": Sum("completion_tokens")}
    assert UsageHour.objects.aggregate(**sums) == UsageRecord.objects.aggregate(**sums) == {"p": 50, "c": 20}
    assert UsageHour.objects.get(key=key_).prompt_tokens == 40
    assert (engine.account.told_prompt_tokens, engine.account.told_completion_tokens) == (50, 20)
    assert engine.account.settled


def test_a_call_that_does_not_stream_gets_what_the_streams_leave(engine: Engine) -> None:
    report()
    engine.cancelled(0, 40, pieces=38, stream=True)
    engine.cancelled(0, 50, pieces=0, stream=False, e2e_seconds=8.0)
    engine.cancelled(0, 10, pieces=0, stream=False, e2e_seconds=4.0)
    passes()
    assert [completion for _, completion, _ in rows()] == [38, 52, 10]  # 5 s and 1 s of work, after 3 s of waiting


def test_nothing_is_settled_by_one_look(engine: Engine) -> None:
    report()
    engine.cancelled(30, 12)
    passes(1)
    assert rows() == [(None, None, "open")]


@pytest.mark.parametrize("busy", ["running", "waiting", "leased", "unwritten"])
def test_nothing_is_settled_while_the_engine_may_be_in_use(engine: Engine, busy: str) -> None:
    leases = {engine.replica.marker: 1} if busy == "leased" else {}
    report(leases=leases, written=time.time() - 1 if busy == "unwritten" else None)
    if busy in ("running", "waiting"):
        setattr(engine.metrics, busy, 1)
    engine.cancelled(30, 12)
    passes(3)
    assert rows() == [(None, None, "open")]
    setattr(engine.metrics, busy, 0)
    report()
    passes()
    assert rows() == [(30, 12, "counters")]


def test_counters_that_still_move_are_looked_at_again(engine: Engine) -> None:
    report()
    engine.cancelled(30, 12)
    settlement = Settlement()
    passes(1, settlement)
    engine.used(Usage(5, 5))
    passes(1, settlement)
    assert rows()[0] == (None, None, "open")
    passes(1, settlement)
    assert rows() == [(30, 12, "counters"), (5, 5, "answer")]


def test_what_the_canaries_took_is_nobodys(engine: Engine) -> None:
    report()
    engine.metrics.prompt_tokens, engine.metrics.generation_tokens = 12, 2
    engine.replica.canary_use = {"generation": 3, "prompt_tokens": 12, "completion_tokens": 2}
    engine.replica.save()
    engine.cancelled(30, 12)
    passes()
    assert rows() == [(30, 12, "counters")]
    assert (engine.account.other_prompt_tokens, engine.account.other_completion_tokens) == (0, 0)


def test_canaries_of_an_earlier_start_do_not_count(engine: Engine) -> None:
    report()
    engine.replica.canary_use = {"generation": 2, "prompt_tokens": 12, "completion_tokens": 2}
    engine.replica.save()
    engine.cancelled(30, 12)
    passes()
    assert rows() == [(30, 12, "counters")]


def test_each_of_several_answers_counts_its_prompt_in_the_engine(engine: Engine) -> None:
    report()
    engine.used(Usage(10, 9), counted=Usage(30, 9), choices=3)
    engine.cancelled(8, 4)
    passes()
    assert rows() == [(10, 9, "answer"), (8, 4, "counters")]


def test_a_difference_without_open_records_is_nobodys(engine: Engine) -> None:
    report()
    engine.used(Usage(10, 5), counted=Usage(13, 4))
    passes()
    assert rows() == [(10, 5, "answer")]
    assert (engine.account.other_prompt_tokens, engine.account.other_completion_tokens) == (3, -1)
    engine.cancelled(30, 12)
    passes()
    assert rows()[1] == (30, 12, "counters")


def test_what_a_beam_search_makes_the_engine_count_is_nobodys(engine: Engine) -> None:
    report()
    engine.cancelled(30, 12)
    engine.used(Usage(5, 10), counted=Usage(580, 46), choices=2, apart=True)
    passes()
    assert rows() == [(None, None, "lost"), (5, 10, "answer")]
    assert (engine.account.other_prompt_tokens, engine.account.other_completion_tokens) == (600, 48)
    engine.cancelled(7, 8)  # what comes after is not touched
    passes()
    assert rows()[2] == (7, 8, "counters")


def test_a_failure_is_charged_to_nobody_and_least_of_all_to_others(engine: Engine) -> None:
    report()
    key_, _ = factories.api_key()
    engine.cancelled(30, 12, body_bytes=300, pieces=12)
    for outcome in ("engine_failed", "engine_unreachable", "answer_incomplete"):
        engine.used(Usage(), counted=Usage(10, 4), outcome=outcome, body_bytes=100, pieces=4, key_id=key_.pk)
    passes()
    assert rows() == [(30, 12, "counters"), *[(None, None, "lost")] * 3]
    hour = UsageHour.objects.get(key=key_)
    assert (hour.prompt_tokens, hour.completion_tokens, hour.failed) == (0, 0, 3)
    assert (engine.account.other_prompt_tokens, engine.account.other_completion_tokens) == (30, 12)
    assert (engine.account.told_prompt_tokens, engine.account.lost) == (30, 3)


def test_a_failure_alone_is_settled_too(engine: Engine) -> None:
    report()
    engine.used(Usage(), counted=Usage(10, 0), outcome="engine_failed")
    passes()
    assert rows() == [(None, None, "lost")]
    assert (engine.account.settled, engine.account.other_prompt_tokens) == (True, 10)


def test_a_negative_difference_is_nobodys_once(engine: Engine) -> None:
    report()
    engine.used(Usage(10, 5), counted=Usage(4, 5))
    engine.cancelled(3, 2)
    passes()
    assert rows() == [(10, 5, "answer"), (None, None, "lost")]
    assert (engine.account.other_prompt_tokens, engine.account.other_completion_tokens) == (-3, 2)
    engine.cancelled(30, 12)
    passes()
    assert rows()[2] == (30, 12, "counters")


def test_after_a_gateway_was_killed_the_difference_is_nobodys(engine: Engine) -> None:
    report("killed")
    report()
    engine.cancelled(30, 12)
    engine.metrics.generation_tokens += 100  # of calls whose records died with it
    client().delete(key("gateway", "killed"))  # as its report expires
    settlement = Settlement()
    passes(1, settlement)
    assert rows() == [(None, None, "open")]
    passes(3, settlement)
    assert rows() == [(None, None, "lost")]
    assert (engine.account.lost, engine.account.other_completion_tokens) == (1, 112)
    engine.cancelled(5, 6)
    passes(2, settlement)
    assert rows()[1] == (5, 6, "counters")


def test_a_gateway_that_ends_in_order_raises_no_doubt(engine: Engine) -> None:
    async def leave() -> None:
        async with redis.asyncio.Redis.from_url(settings.REDIS_URL, decode_responses=True) as connection:
            await activity.aforget(connection, "left")

    report("left")
    report()
    engine.cancelled(30, 12)
    asyncio.run(leave())
    passes()
    assert rows() == [(30, 12, "counters")]


def test_a_gateway_that_reports_again_raises_no_doubt(engine: Engine) -> None:
    report()
    engine.cancelled(30, 12)
    client().delete(key("gateway", "g"))
    settlement = Settlement()
    passes(1, settlement)
    report()
    passes(2, settlement)
    assert rows() == [(30, 12, "counters")]


def test_dropped_records_make_the_next_difference_nobodys(engine: Engine) -> None:
    report()
    engine.cancelled(30, 12)
    engine.used(counted=Usage(10, 10), outcome=DROPPED)
    passes()
    assert rows() == [(None, None, "lost")]
    assert engine.account.other_prompt_tokens == 40
    assert not engine.account.doubtful


@pytest.mark.parametrize("change", [{"state": State.STOPPED}, {"generation": 4}])
def test_an_engine_that_went_leaves_its_open_records_unknown(engine: Engine, change: dict[str, object]) -> None:
    report()
    engine.cancelled(30, 12)
    Replica.objects.filter(pk=engine.replica.pk).update(**change)
    passes(1)
    assert rows() == [(None, None, "lost")]
    assert (engine.account.closed, engine.account.lost) == (True, 1)
    engine.cancelled(30, 12)  # written late
    passes(1)
    assert (engine.account.closed, engine.account.lost) == (True, 2)


def test_an_engine_that_does_not_answer_is_asked_again(engine: Engine) -> None:
    report()
    engine.cancelled(30, 12)
    port = engine.replica.port
    Replica.objects.filter(pk=engine.replica.pk).update(port=1)
    passes(3)
    assert rows() == [(None, None, "open")]
    Replica.objects.filter(pk=engine.replica.pk).update(port=port)
    passes()
    assert rows() == [(30, 12, "counters")]


@given(st.integers(0, 10**6), st.lists(st.integers(0, 1000), min_size=1, max_size=20))
def test_shares_are_whole_add_up_and_follow_the_weights(total: int, weights: list[int]) -> None:
    parts = shares(total, weights)
    assert sum(parts) == total
    assert min(parts) >= 0
    if any(weights):
        heaviest = weights.index(max(weights))
        for place, (part, weight) in enumerate(zip(parts, weights, strict=True)):
            if place != heaviest:
                assert part == total * weight // sum(weights)


def test_single_calls_are_pruned_and_hours_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.tasks.PRUNED_AT_ONCE", 2)
    old = (timezone.now() - timedelta(days=settings.USAGE_DAYS, minutes=1)).timestamp()
    write_usage([record(at=old) for _ in range(5)] + [record(at=timezone.now().timestamp())])
    EngineAccount.objects.update(closed=True)
    prune_usage()
    assert UsageRecord.objects.count() == 1
    assert UsageHour.objects.aggregate(x=Sum("calls"))["x"] == 6
    assert EngineAccount.objects.count() == 1
    EngineAccount.objects.update(written_at=AT)
    prune_usage()
    assert EngineAccount.objects.count() == 0
