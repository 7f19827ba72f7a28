"""A thousand calls of every kind, many of them cancelled: the books equal the engines' own counters to the token."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest
from django.db.models import F, Sum

from gateway.models import ApiKey, EngineAccount, UsageHour, UsageRecord
from models_app.engines import metrics
from models_app.lifecycle import verbs
from models_app.models import Replica
from tests import factories
from tests.e2e.stack import GATEWAY, Stack, wait_for
from tests.patience import free_port, until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.e2e, pytest.mark.timeout(300)]

CALLS = 1000
AT_ONCE = 40
ARGS = ["--load-seconds=0.2", "--tokens-per-second=400", "--ttft-seconds=0.02", "--max-num-seqs=32"]
STORE = {"VLLM_ENABLE_RESPONSES_API_STORE": "1"}

Session = httpx2.AsyncClient
Kind = Callable[["Crowd", Session, str], Awaitable[None]]


class Crowd:
    """Callers with one key each, at two gateways; they sum up what they were told."""

    def __init__(self, models: dict[str, list[str]], leaver: str, sessions: list[Session], seed: int) -> None:
        self.models = models
        self.leaver = leaver
        """The key of those who may leave while their answer is on its way: nobody knows whether they were told."""
        self.sessions = sessions
        self.random = random.Random(seed)
        self.told: Counter[tuple[str, str]] = Counter()
        self.ended: Counter[str] = Counter()
        self.limit = asyncio.Semaphore(AT_ONCE)

    def words(self) -> str:
        return " ".join(self.random.choices(("the", "sea", "is", "calm", "and", "cold"), k=self.random.randint(3, 60)))

    def tokens(self) -> int:
        return self.random.randint(1, 60)

    async def call(self, key: str, kind: Kind) -> None:
        async with self.limit:
            await kind(self, self.random.choice(self.sessions), key)
        self.ended[kind.__name__] += 1

    async def post(self, session: Session, key: str, path: str, **body: Any) -> dict[str, Any]:
        """One call to its end, adding what it says it used to what this key was told."""
        answer = await session.post(path, json=body, headers={"Authorization": f"Bearer {key}"})
        assert answer.status_code == 200, answer.text
        said: dict[str, Any] = answer.json()
        self.hear(key, said.get("usage") or {})
        return said

    def hear(self, key: str, usage: dict[str, Any]) -> None:
        self.told[key, "prompt"] += usage.get("prompt_tokens") or usage.get("input_tokens") or 0
        self.told[key, "prompt"] += usage.get("cache_read_input_tokens") or 0
        self.told[key, "completion"] += usage.get("completion_tokens") or usage.get("output_tokens") or 0

    def model(self, key: str) -> str:
        return self.random.choice(self.models[key])


def chat(crowd: Crowd, key: str, **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": crowd.words()}]
    return {"model": crowd.model(key), "messages": messages, "max_tokens": crowd.tokens(), "ignore_eos": True} | more


async def whole_chat(crowd: Crowd, session: Session, key: str) -> None:
    await crowd.post(session, key, "/v1/chat/completions", **chat(crowd, key))


async def several_answers(crowd: Crowd, session: Session, key: str) -> None:
    prompts = [crowd.words(), crowd.words()]
    body = {"model": crowd.model(key), "prompt": prompts, "n": 2, "temperature": 1.0, "max_tokens": crowd.tokens()}
    await crowd.post(session, key, "/v1/completions", **body)


async def message(crowd: Crowd, session: Session, key: str) -> None:
    await crowd.post(session, key, "/v1/messages", **chat(crowd, key))


async def stored_response(crowd: Crowd, session: Session, key: str) -> None:
    body = {"model": crowd.model(key), "input": crowd.words(), "max_output_tokens": crowd.tokens()}
    made = await crowd.post(session, key, "/v1/responses", **body)
    again = await session.get(f"/v1/responses/{made['id']}", headers={"Authorization": f"Bearer {key}"})
    assert again.json()["usage"] == made["usage"]


async def background_response(crowd: Crowd, session: Session, key: str) -> None:
    body = {"model": crowd.model(key), "input": crowd.words(), "max_output_tokens": 30, "background": True}
    await crowd.post(session, key, "/v1/responses", **body)


async def nothing_generated(crowd: Crowd, session: Session, key: str) -> None:
    headers = {"Authorization": f"Bearer {key}"}
    for path in ("/v1/tokenize", "/v1/messages/count_tokens"):
        assert (await session.post(path, json=chat(crowd, key), headers=headers)).status_code == 200


async def refused(crowd: Crowd, session: Session, key: str) -> None:
    headers = {"Authorization": f"Bearer {key}"}
    answer = await session.post("/v1/chat/completions", json=chat(crowd, key, max_tokens=10**6), headers=headers)
    assert answer.status_code == 400


async def streamed(crowd: Crowd, session: Session, key: str) -> None:
    """To its end, asking for usage half of the time; the other half must not see the gateway's own asking."""
    wanted = crowd.random.random() < 0.5
    options = {"stream_options": {"include_usage": True}} if wanted else {}
    body = chat(crowd, key, stream=True, **options)
    headers = {"Authorization": f"Bearer {key}"}
    async with session.stream("POST", "/v1/chat/completions", json=body, headers=headers) as answer:
        text = (await answer.aread()).decode()
    events = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
    assert events[-1] == "[DONE]"
    assert ('"usage":{' in events[-2]) == wanted


async def left_mid_stream(crowd: Crowd, session: Session, key: str) -> None:
    body = chat(crowd, key, stream=True, max_tokens=200)
    headers = {"Authorization": f"Bearer {key}"}
    wanted = crowd.random.randint(0, 3000)
    async with session.stream("POST", "/v1/chat/completions", json=body, headers=headers) as answer:
        got = 0
        async for piece in answer.aiter_raw():
            got += len(piece)
            if got >= wanted:
                return


async def left_waiting(crowd: Crowd, session: Session, _: str) -> None:
    """Anywhere between the request's last byte and the answer's first; on a busy machine also after it."""
    try:
        async with asyncio.timeout(crowd.random.uniform(0, 0.15)):
            await crowd.post(session, crowd.leaver, "/v1/chat/completions", **chat(crowd, crowd.leaver, max_tokens=200))
    except (TimeoutError, httpx2.HTTPError):
        pass


async def left_unread(crowd: Crowd, session: Session, _: str) -> None:
    """After the answer came, which is not looked at: for the engine and its gateway it is a call like any other."""
    body = json.dumps(chat(crowd, crowd.leaver, max_tokens=2)).encode()
    url = session.base_url
    reader, writer = await asyncio.open_connection(url.host, url.port)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {crowd.leaver}\r\n"
    writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
    await reader.read(1)
    writer.close()


async def embedded(crowd: Crowd, session: Session, key: str) -> None:
    await crowd.post(session, key, "/v1/embeddings", model="embed", input=[crowd.words(), crowd.words()])


KINDS: dict[Kind, int] = {
    whole_chat: 24,
    streamed: 26,
    left_mid_stream: 18,
    left_waiting: 7,
    left_unread: 3,
    several_answers: 6,
    message: 5,
    stored_response: 4,
    background_response: 2,
    nothing_generated: 3,
    refused: 2,
    embedded: 5,
}


def deploy(name: str, *args: str) -> Replica:
    made = factories.deployment(name=name, extra_args=[*ARGS, *args], environment=STORE, sleep_enabled=True)
    [replica] = verbs.deploy(made, actor="test")
    return replica


def settled() -> bool:
    accounts = EngineAccount.objects.all()
    return not UsageRecord.objects.filter(told="open").exists() and all(account.settled for account in accounts)


def test_a_thousand_mixed_calls_are_accounted_to_the_token(stack: Stack) -> None:
    port = free_port()
    stack.running["gateway2"] = stack.begin("gateway2", GATEWAY, port)
    replicas = [deploy("common"), deploy("own"), deploy("embed", "--runner=pooling")]
    team = factories.team("readers")
    teamed, teamed_text = factories.api_key(team=team)
    _, leaver = factories.api_key(team=team)
    models = {stack.key: ["common"], teamed_text: ["common", "own"], leaver: ["common", "own"]}
    callers = [stack.key, teamed_text]
    for replica in replicas:
        wait_for(replica, "ready")
    until(lambda: _answers(port, stack.key), "the second gateway answers")

    async def run(count: int, seed: int) -> Crowd:
        timeout = httpx2.Timeout(60)
        limits = httpx2.Limits(max_connections=None)
        urls = [stack.url.removesuffix("/v1"), f"http://127.0.0.1:{port}"]
        sessions = [Session(base_url=url, timeout=timeout, limits=limits, trust_env=False) for url in urls]
        crowd = Crowd(models, leaver, sessions, seed)
        kinds = crowd.random.choices(list(KINDS), list(KINDS.values()), k=count)
        calls = [crowd.call(crowd.random.choice(callers), kind) for kind in kinds]
        await asyncio.gather(*calls)
        for session in sessions:
            await session.aclose()
        return crowd

    before = asyncio.run(run(CALLS // 2, 1))
    verbs.sleep(replicas[1], actor="test")  # while what it was used for may still be open
    wait_for(replicas[1], "sleeping")
    after = asyncio.run(run(CALLS // 2, 2))
    assert sum((before.ended + after.ended).values()) == CALLS
    until(settled, "every call is settled", 60)
    for replica in replicas:
        replica.refresh_from_db()
        _check(replica)
    _check_keys({stack.key: ApiKey.objects.get(name="e2e"), teamed_text: teamed}, before.told + after.told)


def _answers(port: int, key: str) -> bool:
    try:
        headers = {"Authorization": f"Bearer {key}"}
        return httpx2.get(f"http://127.0.0.1:{port}/v1/models", headers=headers, timeout=2).status_code == 200
    except httpx2.HTTPError:
        return False


def _check(replica: Replica) -> None:
    """Records, hours and counters of one model say the same."""
    name = replica.spec["served_name"]
    said = metrics.scrape({name: replica.url})[name]
    own_prompt, own_completion = replica.own_tokens
    counted = {"prompt": (said["prompt_tokens"] or 0) - own_prompt}
    counted["completion"] = (said["generation_tokens"] or 0) - own_completion
    rows = UsageRecord.objects.filter(served_name=name)
    copies = Sum(F("prompt_tokens") * F("prompt_copies"))
    assert rows.aggregate(prompt=copies, completion=Sum("completion_tokens")) == counted
    sums = {field: Sum(field) for field in ("prompt_tokens", "completion_tokens")}
    hours = UsageHour.objects.filter(served_name=name)
    assert hours.aggregate(**sums) == rows.aggregate(**sums)
    account = EngineAccount.objects.get(replica_id=replica.pk)
    assert (account.lost, account.other_prompt_tokens, account.other_completion_tokens) == (0, 0, 0)
    if name != "embed":
        assert rows.filter(told="counters", completion_tokens__gt=0).exists()


def _check_keys(keys: dict[str, ApiKey], told: Counter[tuple[str, str]]) -> None:
    """What each caller was told is in its records, and nothing else that was told is."""
    for text, key in keys.items():
        rows = UsageRecord.objects.filter(key=key, told="answer")
        rows = rows.exclude(stream=True)  # of streams only some were told
        sums = rows.aggregate(prompt=Sum("prompt_tokens"), completion=Sum("completion_tokens"))
        assert sums == {"prompt": told[text, "prompt"], "completion": told[text, "completion"]}
    unread = UsageRecord.objects.exclude(key__in=list(keys.values())).filter(outcome="ok")
    assert unread.exclude(told="answer").count() == 0
    assert unread.filter(completion_tokens=2).exists()
    assert set(UsageRecord.objects.filter(key__team__isnull=False).values_list("team__name", flat=True)) == {"readers"}
