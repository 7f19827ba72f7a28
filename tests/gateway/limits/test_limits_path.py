"""What callers and engines see of the limits of keys and teams, over the whole path."""

import asyncio
import json
from dataclasses import dataclass

import httpx2
import pytest

from gateway import server
from gateway.limits.limiter import UNLIMITED, KnownTeam, Quota, Spent
from tests.gateway.behaviours import Held, events, status
from tests.gateway.conftest import KEY, READ_KEY, World, known, until
from tests.gateway.engines import Engine


@pytest.fixture(autouse=True)
def _sums_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The database of these tests never hears of what was used."""
    monkeypatch.setattr(server, "SUM_SECONDS", 3600.0)


@dataclass(frozen=True)
class Case:
    """A limit that one call of twelve tokens uses up."""

    quota: Quota
    code: str
    words: str
    most_seconds: int


CASES = [
    Case(Quota(requests_per_minute=1), "request_limit", "1 requests per minute", 60),
    Case(Quota(tokens_per_minute=12), "token_limit", "12 tokens per minute", 60),
    Case(Quota(tokens_per_day=12), "budget_exceeded", "12 tokens per day", 86400),
    Case(Quota(tokens_per_month=12), "budget_exceeded", "12 tokens per month", 86400),
    Case(Quota(gpu_seconds_per_day=1e-9), "budget_exceeded", "gpu seconds per day", 86400),
    Case(Quota(gpu_seconds_per_month=1e-9), "budget_exceeded", "gpu seconds per month", 86400),
]
EACH = pytest.mark.parametrize("case", CASES, ids=lambda case: case.words.replace(" ", "-"))
WHOSE = pytest.mark.parametrize("whose", ["key", "team"])


def limit(world: World, quota: Quota, whose: str = "key") -> None:
    """The only key, or its team, may use so much."""
    team = KnownTeam(3, "blue", 1, 0, quota if whose == "team" else UNLIMITED)
    world.keys = [known(KEY, 1, quota=quota if whose == "key" else UNLIMITED, team=team)]


def told(answer: httpx2.Response, *names: str) -> list[str | None]:
    return [answer.headers.get(f"x-ratelimit-{name}") for name in names]


# --- each limit -------------------------------------------------------------------------------------------------
@EACH
@WHOSE
async def test_a_limit_that_is_used_up_is_told_and_the_engine_is_left_alone(
    world: World, run, engine: Engine, case: Case, whose: str
) -> None:
    limit(world, case.quota, whose)
    world.serve("m", engine)
    gateway = await run()
    assert (await gateway.chat("m")).status_code == 200
    refused = await gateway.chat("m")
    error = refused.json()["error"]
    assert (refused.status_code, error["code"], error["type"]) == (429, case.code, "rate_limit_error")
    assert f"this {whose}'s limit" in error["message"]
    assert case.words in error["message"]
    assert 1 <= int(refused.headers["retry-after"]) <= case.most_seconds
    assert "x-should-retry" not in refused.headers
    assert len(engine.seen) == 1


@WHOSE
async def test_no_more_than_may_be_are_in_flight(world: World, run, engine: Engine, whose: str) -> None:
    held = engine.behaviour = Held()
    limit(world, Quota(concurrent_requests=2), whose)
    world.serve("m", engine)
    gateway = await run()
    asked = [asyncio.create_task(gateway.chat("m")) for _ in range(2)]
    await until(lambda: len(held) == 2)
    refused = await gateway.chat("m")
    error = refused.json()["error"]
    assert (refused.status_code, error["code"], refused.headers["retry-after"]) == (429, "concurrency_limit", "1")
    assert f"this {whose}'s limit of 2 concurrent requests" in error["message"]
    held.let_go()
    await until(lambda: any(task.done() for task in asked))
    asked.append(asyncio.create_task(gateway.chat("m")))
    await until(lambda: len(held) == 2)
    held.open()
    assert {answer.status_code for answer in await asyncio.gather(*asked)} == {200}
    assert held.most == 2


async def test_keys_of_a_team_share_its_limit_and_others_do_not(world: World, run, engine: Engine) -> None:
    team = KnownTeam(3, "blue", 1, 0, Quota(requests_per_minute=1))
    world.keys = [known(KEY, 1, team=team), known("mate", 2, team=team), known("other", 3)]
    world.serve("m", engine)
    gateway = await run()
    statuses = []
    for plain in (KEY, "mate", "other", "other"):
        sent = {"json": {"model": "m"}, "headers": {"authorization": f"Bearer {plain}"}}
        statuses.append((await gateway.client.post("/v1/chat/completions", **sent)).status_code)
    assert statuses == [200, 429, 200, 200]


@pytest.mark.parametrize(
    ("quota", "spent"),
    [
        (Quota(tokens_per_day=100), Spent(day_tokens=100, month_tokens=100)),
        (Quota(tokens_per_month=100), Spent(month_tokens=100)),
        (Quota(gpu_seconds_per_day=9.5), Spent(day_gpu_seconds=9.5, month_gpu_seconds=9.5)),
        (Quota(gpu_seconds_per_month=9.5), Spent(month_gpu_seconds=12.0)),
    ],
)
@WHOSE
async def test_what_was_spent_before_the_gateway_began_counts(
    world: World, run, engine: Engine, quota: Quota, spent: Spent, whose: str
) -> None:
    limit(world, quota, whose)
    world.spent = ({1: spent}, {}) if whose == "key" else ({}, {3: spent})
    world.serve("m", engine)
    answer = await (await run()).chat("m")
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "budget_exceeded")
    assert not engine.seen


# --- headers ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("stream", [False, True])
async def test_each_answer_says_what_is_left_this_minute(world: World, run, engine: Engine, stream: bool) -> None:
    engine.behaviour = events("hello") if stream else engine.behaviour
    limit(world, Quota(requests_per_minute=2, tokens_per_minute=10_000))
    world.serve("m", engine)
    gateway = await run()
    answers = [await gateway.chat("m", stream=stream) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [told(answer, "limit-requests", "remaining-requests") for answer in answers] == [
        ["2", "1"],
        ["2", "0"],
        ["2", "0"],
    ]
    for answer in answers:
        assert answer.headers["x-ratelimit-limit-tokens"] == "10000"
        assert 9000 < int(answer.headers["x-ratelimit-remaining-tokens"]) < 10_000
        assert answer.headers["x-ratelimit-reset-requests"].endswith("s")
        assert all(len(answer.headers.get_list(name)) == 1 for name in answer.headers)


async def test_the_tighter_of_key_and_team_is_told(world: World, run, engine: Engine) -> None:
    team = KnownTeam(3, "blue", 1, 0, Quota(requests_per_minute=50, tokens_per_minute=500))
    world.keys = [known(KEY, 1, quota=Quota(requests_per_minute=5, tokens_per_minute=5000), team=team)]
    world.serve("m", engine)
    answer = await (await run()).chat("m")
    assert told(answer, "limit-requests", "remaining-requests", "limit-tokens") == ["5", "4", "500"]


async def test_an_answer_the_engine_refused_says_what_is_left_too(world: World, run, engine: Engine) -> None:
    engine.behaviour = status(400)
    limit(world, Quota(requests_per_minute=2))
    world.serve("m", engine)
    answer = await (await run()).chat("m")
    assert (answer.status_code, told(answer, "remaining-requests")) == (400, ["1"])


async def test_without_limits_nothing_is_told(world: World, run, engine: Engine) -> None:
    world.serve("m", engine)
    answer = await (await run()).chat("m")
    assert not [name for name in answer.headers if name.startswith("x-ratelimit")]


# --- dialects ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("stream", [False, True])
async def test_anthropics_clients_are_refused_in_their_words(world: World, run, engine: Engine, stream: bool) -> None:
    limit(world, Quota(requests_per_minute=1))
    world.serve("m", engine)
    gateway = await run()
    body = {"model": "m", "stream": stream}
    await gateway.client.post("/v1/messages", json=body)
    refused = await gateway.client.post("/v1/messages", json=body, headers={"authorization": "", "x-api-key": KEY})
    said = refused.json()
    assert (refused.status_code, refused.headers["content-type"]) == (429, "application/json")
    assert (said["type"], said["error"]["type"]) == ("error", "rate_limit_error")
    assert "this key's limit of 1 requests per minute" in said["error"]["message"]
    assert said["request_id"] == refused.headers["x-request-id"]
    assert int(refused.headers["retry-after"]) >= 1


# --- what a call costs ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("asked", [{}, {"stream_options": {"include_usage": True}}])
async def test_a_stream_costs_what_the_engine_counted(
    world: World, run, engine: Engine, asked: dict[str, object]
) -> None:
    engine.behaviour = events("hello")
    limit(world, Quota(tokens_per_day=24))
    world.serve("m", engine)
    gateway = await run()
    padding = "x" * 4000  # about a thousand tokens, would one estimate
    answers = [await gateway.chat("m", stream=True, padding=padding, **asked) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert ('"usage"' in answers[0].text) == bool(asked)
    await until(lambda: len(world.usage) == 3)
    assert [record.usage.completion_tokens for record in world.usage] == [5, 5, 0]


async def test_what_an_engine_refused_costs_no_tokens(world: World, run, engine: Engine) -> None:
    engine.behaviour = status(400)
    limit(world, Quota(tokens_per_minute=100, tokens_per_day=100))
    world.serve("m", engine)
    gateway = await run()
    assert {(await gateway.chat("m", padding="x" * 300)).status_code for _ in range(4)} == {400}


async def test_what_never_reached_an_engine_costs_no_tokens(world: World, run) -> None:
    limit(world, Quota(tokens_per_minute=100, tokens_per_day=100, concurrent_requests=1))
    world.serve("m", state="stopped")
    gateway = await run()
    assert {(await gateway.chat("m", padding="x" * 300)).status_code for _ in range(4)} == {503}


async def test_gpu_time_is_counted_for_who_used_it(world: World, run, engine: Engine) -> None:
    limit(world, UNLIMITED)
    world.serve("m", engine, gpus=4)
    gateway = await run()
    await gateway.chat("m")
    await until(lambda: bool(world.usage))
    (record,) = world.usage
    assert 0 < record.gpu_seconds <= 4 * record.e2e_seconds


# --- what becomes of calls that do not go well ------------------------------------------------------------------
async def test_a_refused_call_is_recorded_with_its_code_and_costs_nothing(world: World, run, engine: Engine) -> None:
    limit(world, Quota(requests_per_minute=1))
    world.serve("first", engine)
    world.alias("m", first=1)
    gateway = await run()
    await gateway.chat("m")
    await gateway.chat("m")
    await until(lambda: len(world.usage) == 2)
    record = world.usage[1]
    assert (record.status, record.outcome, record.key_id, record.team_id) == (429, "request_limit", 1, 3)
    assert (record.asked_name, record.served_name, record.replica_id) == ("m", "first", None)
    assert (record.usage.prompt_tokens, record.usage.completion_tokens, record.gpu_seconds) == (0, 0, 0.0)
    page = (await gateway.client.get("/metrics")).text
    assert 'status="429",outcome="request_limit"} 1' in page


async def test_a_refused_call_takes_nothing_of_any_limit(world: World, run, engine: Engine) -> None:
    held = engine.behaviour = Held()
    quota = Quota(concurrent_requests=1)
    team = KnownTeam(3, "blue", 1, 0, Quota(requests_per_minute=2, tokens_per_minute=100_000))
    world.keys = [known(KEY, 1, quota=quota, team=team)]
    world.serve("m", engine)
    gateway = await run()
    first = asyncio.create_task(gateway.chat("m"))
    await until(lambda: len(held) == 1)
    assert {(await gateway.chat("m")).json()["error"]["code"] for _ in range(5)} == {"concurrency_limit"}
    held.open()
    assert told(await first, "remaining-requests") == ["1"]
    second = asyncio.create_task(gateway.chat("m"))
    await until(lambda: len(held) == 1)
    held.open()
    assert told(await second, "remaining-requests") == ["0"]


@pytest.mark.parametrize("stream", [b"false", b"true"])
async def test_a_call_whose_client_left_gives_its_place_back(world: World, run, engine: Engine, stream: bytes) -> None:
    held = engine.behaviour = Held()
    limit(world, Quota(concurrent_requests=1))
    world.serve("m", engine)
    gateway = await run()
    client = await gateway.open(b'{"model":"m","stream":%b}' % stream)
    await until(lambda: len(held) == 1)
    assert (await gateway.chat("m")).json()["error"]["code"] == "concurrency_limit"
    await client.leave()
    await until(lambda: len(held) == 0 and gateway.leases() == 0)
    again = asyncio.create_task(gateway.chat("m"))
    await until(lambda: len(held) == 1)
    held.open()
    assert (await again).status_code == 200
    await until(lambda: len(world.usage) == 3)
    assert [record.outcome for record in world.usage] == ["concurrency_limit", "cancelled", "ok"]


async def test_a_call_whose_client_left_while_it_waited_gives_its_place_back(world: World, run, engine: Engine) -> None:
    limit(world, Quota(concurrent_requests=1, tokens_per_day=100))
    world.serve("m")
    gateway = await run()
    client = await gateway.open(json.dumps({"model": "m", "padding": "x" * 380}).encode())
    await until(lambda: gateway.app.admission.waiting == 1)
    await client.leave()
    await until(lambda: gateway.app.admission.waiting == 0)
    world.change("m", engine)
    assert (await gateway.chat("m")).status_code == 200


@pytest.mark.parametrize(("failure", "code"), [(status(500), 500), (status(503), 503)])
async def test_a_call_that_failed_gives_its_place_back(world: World, run, engine: Engine, failure, code: int) -> None:
    engine.behaviours = [failure] * 3
    limit(world, Quota(concurrent_requests=1))
    world.serve("m", engine)
    gateway = await run()
    assert [(await gateway.chat("m")).status_code for _ in range(4)] == [code] * 3 + [200]


async def test_asking_what_there_is_uses_nothing(world: World, run, engine: Engine) -> None:
    limit(world, Quota(requests_per_minute=1))
    world.keys.append(known(READ_KEY, 2, inference=False))
    world.serve("m", engine)
    gateway = await run()
    assert {(await gateway.client.get("/v1/models")).status_code for _ in range(4)} == {200}
    assert (await gateway.chat("nobody")).status_code == 404
    assert (await gateway.chat("m")).status_code == 200


async def test_a_limit_holds_across_processes(world: World, run, engine: Engine) -> None:
    limit(world, Quota(tokens_per_day=24))
    world.serve("m", engine)
    one, other = await run(), await run()
    await until(lambda: one.app.peers.count == other.app.peers.count == 2)
    for _ in range(2):
        assert (await one.chat("m")).status_code == 200
    number = other.app.peers._number
    await until(lambda: other.app.peers._number >= number + 3)
    assert (await other.chat("m")).json()["error"]["code"] == "budget_exceeded"
