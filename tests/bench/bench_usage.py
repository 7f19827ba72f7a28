"""What the pages of usage, traffic and decisions ask of PostgreSQL, with 300,000 and with 3,000,000 calls of 30 days.

`make bench` runs this. Calls are uniform over the month, so that a day has a thirtieth of them.
"""

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from gateway.metering import spread_rows
from gateway.metering.usage_fields import SUMMED, add_to_hours
from gateway.models import ApiKey, Team
from tests import factories

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(1800)]

TEAMS, KEYS, MODELS, DAYS = 8, 40, 10, 30
GOES = 5
CALLS = """
    INSERT INTO gateway_usagerecord (key_id, team_id, served_name, asked_name, path, replica_id, generation, status,
        outcome, stream, prompt_tokens, cached_tokens, completion_tokens, wake_seconds, queue_seconds, ttft_seconds,
        gap_seconds, longest_gap_seconds, e2e_seconds, gpu_seconds, at, told, pieces, prompt_copies, body_bytes,
        request_id)
    SELECT %(key)s + n %% %(keys)s, %(team)s + n %% %(keys)s %% %(teams)s, 'model-' || model,
        CASE WHEN n %% 50 = 0 THEN 'gpt-4' ELSE 'model-' || model END, '/v1/chat/completions', model, 1,
        CASE WHEN luck < 0.985 THEN 200 WHEN luck < 0.995 THEN 499 ELSE 502 END,
        CASE WHEN luck < 0.985 THEN 'ok' WHEN luck < 0.995 THEN 'cancelled' WHEN luck < 0.99999 THEN 'engine_failed'
            ELSE 'wake_timeout' END,
        true, 500, 100, 200, CASE WHEN luck < 0.01 THEN 20 * random() ELSE 0 END,
        CASE WHEN luck < 0.2 THEN 3 * random() ELSE 0 END, exp(random() * 4 - 4), exp(random() - 4), exp(random() - 3),
        exp(random() * 3), random(), now() - n * interval '30 days' / %(calls)s, 'answer', 200, 1, 2000,
        'call-' || n
    FROM (
        SELECT n, random() AS luck, (n %% %(keys)s + floor(3 * random())::int) %% %(models)s AS model
        FROM generate_series(%(calls)s - 1, 0, -1) AS n
    ) AS calls"""
HOURS = add_to_hours(f"""
    SELECT date_trunc('hour', at, 'UTC'), key_id, team_id, served_name, {SUMMED} FROM gateway_usagerecord
    GROUP BY 1, 2, 3, 4""")
TRANSITIONS = """
    INSERT INTO models_app_transition (replica_id, deployment_name, generation, old, new, goal, reason, message, fields,
        actor, gpus, at)
    SELECT n %% 20 + 1, 'model-' || n %% 10, 1, 'ready', CASE WHEN n %% 7 = 0 THEN 'ready' ELSE 'sleeping' END,
        'sleeping', CASE WHEN n %% 7 = 0 THEN 'evicted' ELSE 'idle' END, '', '{}',
        CASE WHEN n %% 3 = 0 THEN 'policy:night' ELSE 'rule' END, ARRAY['GPU-' || n %% 8],
        now() - n * interval '30 days' / %(rows)s
    FROM generate_series(%(rows)s - 1, 0, -1) AS n"""
DECISIONS = """
    INSERT INTO models_app_decision (kind, code, deployment_name, replica_id, sentence, inputs, actor, at, last_at,
        times)
    SELECT (ARRAY['placement', 'eviction', 'wait', 'refusal', 'limit'])[n %% 5 + 1], 'no_gpu', 'model-' || n %% 10,
        n %% 20 + 1, 'it was decided', '{}', 'user:someone', at, at, 1
    FROM (
        SELECT n, now() - n * interval '30 days' / %(rows)s AS at FROM generate_series(%(rows)s - 1, 0, -1) AS n
    ) AS made"""


def fill(calls: int) -> None:
    """A month of calls of every key and team, and a thirtieth as many events and decisions."""
    for number in range(TEAMS):
        factories.team(f"team-{number}")
    for number in range(KEYS):
        factories.api_key(name=f"key-{number}", team=Team.objects.get(name=f"team-{number % TEAMS}"))
    first = {"key": ApiKey.objects.order_by("pk")[0].pk, "team": Team.objects.order_by("pk")[0].pk}
    with connection.cursor() as cursor:
        cursor.execute(CALLS, first | {"keys": KEYS, "teams": TEAMS, "models": MODELS, "calls": calls})
        cursor.execute(HOURS)
        for rows in (TRANSITIONS, DECISIONS):
            cursor.execute(rows, {"rows": calls // DAYS})
        cursor.execute("ANALYZE")


def questions(now: datetime) -> Iterator[tuple[str, str]]:
    """What it is, and the path that a page asks for it."""
    key, team = ApiKey.objects.order_by("pk")[3].pk, Team.objects.order_by("pk")[3].pk
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)

    def within(since: datetime, until: datetime) -> str:
        return f"since={since:%Y-%m-%dT%H:%M:%SZ}&until={until:%Y-%m-%dT%H:%M:%SZ}"

    hour = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    day, month = within(hour - timedelta(days=1), hour), within(today - timedelta(days=29), today + timedelta(days=1))
    yesterday = within(today - timedelta(days=1), today)
    for span, asked, step in (("24 h", day, "hour"), ("yesterday", yesterday, "hour"), ("30 d", month, "day")):
        for by in ("model", "team", "key"):
            yield f"usage {span} by {by}", f"usage/hours?{asked}&group_by={by}"
        yield f"usage {span} by {step} and key", f"usage/hours?{asked}&group_by={step},key"
    yield "usage 30 d of a key by model", f"usage/hours?{month}&group_by=model&key={key}"
    yield "usage 30 d of a model by key", f"usage/hours?{month}&group_by=key&model=model-3"
    for span, hours in (("15 min", 0.25), ("1 h", 1), ("24 h", 24), ("7 d", 168), ("30 d", 720)):
        yield f"traffic {span}, charts", f"usage/speed?hours={hours}"
        for by in ("model", "key"):
            yield f"traffic {span}, figures by {by}", f"usage/figures?hours={hours}&by={by}"
    yield "traffic 30 d of a model, charts", "usage/speed?hours=720&model=model-3"
    yield "traffic 30 d of a team and a model, charts", f"usage/speed?hours=720&model=model-3&team={team}"
    yield "traffic 30 d of a team, figures by key", f"usage/figures?hours=720&by=key&team={team}"
    for span, asked in (("24 h", day), ("30 d", month)):
        yield f"calls {span}", f"usage?{asked}&limit=25"
        yield f"calls {span}, page 100", f"usage?{asked}&limit=25&offset=2500"
        for what, narrowed in (
            ("of a key", f"key={key}"),
            ("of a team", f"team={team}"),
            ("of a model", "model=model-3"),
            ("of an alias", "model=gpt-4"),
            ("of no model", "model=nobody"),
            ("that failed", "outcome=engine_failed"),
            ("that failed rarely", "outcome=wake_timeout"),
        ):
            yield f"calls {span} {what}", f"usage?{asked}&limit=25&{narrowed}"
    yield "why of a call", "why?of=call-77&kind=call"
    yield "keys with their last use", "keys"
    yield "decisions", "decisions?limit=50&kind=history,eviction,placement,wait,refusal,orphan,cordon"
    yield "decisions, page 100", "decisions?limit=50&offset=5000"
    yield "decisions of an actor there is not", "decisions?limit=50&actor=nobody"
    yield "decisions of a GPU", "decisions?limit=50&gpu=GPU-3"
    yield "decisions of a deployment", "decisions?limit=50&deployment=model-3"
    for hours in (6, 720):
        yield f"evictions {hours} h", f"timeline?hours={hours}"


def cpu_seconds() -> float:
    """Of this process and of PostgreSQL's for it until now: on a busy machine the figure to compare."""
    backend = Path(f"/proc/{connection.connection.info.backend_pid}/stat").read_text().rpartition(")")[2].split()
    return time.process_time() + sum(map(int, backend[11:13])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("calls", [300_000, 3_000_000])
def test_usage(client: Client, calls: int, capsys: pytest.CaptureFixture[str]) -> None:
    client.force_login(factories.user("olive", is_staff=True, is_superuser=True))
    began = time.perf_counter()
    fill(calls)
    filled = time.perf_counter()
    spread_rows.roll_up(timezone.now(), 900.0)
    rolled = time.perf_counter()
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    took = []
    for name, path in questions(timezone.now()):
        goes = []
        used = cpu_seconds()
        for _ in range(GOES):
            begun = time.perf_counter()
            answer = client.get(f"/api/{path}")
            goes.append(1000 * (time.perf_counter() - begun))
            assert answer.status_code == 200, (path, answer.content)
        took.append((name, min(goes), 1000 * (cpu_seconds() - used) / GOES))
    with capsys.disabled():
        filled_in, added_up = filled - began, rolled - filled
        print(f"\n{calls:,} calls, filled in {filled_in:.0f} s, added up in {added_up:.0f} s")
        print(f"{'ms':>44} {f'best of {GOES}':>9} {'CPU':>9}")
        for name, least, used in took:
            print(f"{name:>44} {least:9.1f} {used:9.1f}")
