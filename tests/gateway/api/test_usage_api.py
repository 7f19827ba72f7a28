"""Usage over REST: single calls and sums, narrowed, in pages or whole as CSV."""

import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection, connections
from django.test import AsyncClient, Client
from django.test.utils import CaptureQueriesContext

from gateway.api import calls_pagination
from gateway.api.quantiles import QUANTILES
from gateway.models import ApiKey, Team, UsageHour, UsageRecord
from tests import factories

pytestmark = pytest.mark.django_db
NOON = datetime(2030, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(factories.user("staff", is_staff=True, is_superuser=True))
    return client


def call(**fields: Any) -> UsageRecord:
    given = {"served_name": "chat", "path": "/v1/completions", "status": 200, "outcome": "ok", "stream": False}
    return UsageRecord.objects.create(**(given | {"e2e_seconds": 1.0, "at": NOON} | fields))


def hour(**fields: Any) -> UsageHour:
    return UsageHour.objects.create(**({"served_name": "chat", "hour": NOON, "calls": 1} | fields))


@pytest.fixture
def team() -> Team:
    return factories.team("blue")


@pytest.fixture
def key(team: Team) -> ApiKey:
    return factories.api_key(name="app", team=team)[0]


def ask(client: Client, path: str, **params: Any) -> Any:
    answer = client.get(f"/api/usage{path}", params)
    assert answer.status_code == 200, answer.content
    return answer.json()


def table(answer: Any) -> list[list[str]]:
    assert answer.status_code == 200
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    return list(csv.reader(io.StringIO(b"".join(answer.streaming_content).decode(), newline="")))


def test_calls_are_told_with_whose_they_were(staff: Client, key: ApiKey, team: Team) -> None:
    call(key=key, team=team, asked_name="gpt-4", gap_seconds=0.1, gpu_seconds=2.5)
    [row] = ask(staff, "")["results"]
    assert (row["key_name"], row["team_name"], row["asked_name"]) == ("app", "blue", "gpt-4")
    assert (row["gap_seconds"], row["longest_gap_seconds"], row["gpu_seconds"]) == (0.1, None, 2.5)


@pytest.mark.parametrize(
    "params",
    [
        {"model": "chat"},
        {"model": "gpt-4"},
        {"team": "blue"},
        {"outcome": "ok"},
        {"since": "2030-01-31T12:00:00Z"},
        {"until": "2030-01-31T12:00:01Z", "since": "2030-01-31T11:59:59Z"},
    ],
)
def test_calls_are_narrowed(staff: Client, key: ApiKey, team: Team, params: dict[str, str]) -> None:
    wanted = call(key=key, team=team, asked_name="gpt-4")
    call(served_name="code", outcome="model_failed", at=NOON - timedelta(days=1))
    assert [row["id"] for row in ask(staff, "", **params)["results"]] == [wanted.pk]
    assert [row["id"] for row in ask(staff, "", key=key.pk)["results"]] == [wanted.pk]


@pytest.mark.parametrize("path", ["", "/hours"])
@pytest.mark.parametrize(("field", "value"), [("key", "x"), ("team", "nobody"), ("since", "soon"), ("until", "1.5")])
def test_a_wrong_question_names_its_field(staff: Client, path: str, field: str, value: str) -> None:
    for form in ("json", "csv"):
        answer = staff.get(f"/api/usage{path}", {field: value, "format": form})
        assert (answer.status_code, list(answer.json()["fields"])) == (400, [field])


def test_sums_are_told_by_hour_key_team_and_model(staff: Client, key: ApiKey, team: Team) -> None:
    hour(key=key, team=team, calls=2, failed=1, prompt_tokens=10, completion_tokens=5, gpu_seconds=1.5)
    hour(served_name="code", hour=NOON - timedelta(hours=1), calls=3, cancelled=1)
    answer = ask(staff, "/hours")
    assert answer["count"] == 2
    assert answer["results"][0] == {
        "hour": "2030-01-31T12:00:00Z",
        "key": key.pk,
        "key_name": "app",
        "team": team.pk,
        "team_name": "blue",
        "served_name": "chat",
        "calls": 2,
        "failed": 1,
        "cancelled": 0,
        "prompt_tokens": 10,
        "cached_tokens": 0,
        "completion_tokens": 5,
        "wake_seconds": 0.0,
        "queue_seconds": 0.0,
        "e2e_seconds": 0.0,
        "gpu_seconds": 1.5,
        "ttft_p50_seconds": None,
        "ttft_p95_seconds": None,
        "e2e_p50_seconds": None,
        "e2e_p95_seconds": None,
    }
    assert (answer["totals"]["calls"], answer["totals"]["prompt_tokens"], answer["totals"]["cancelled"]) == (5, 10, 1)


def test_sums_are_added_up_by_what_is_asked_for(staff: Client, key: ApiKey, team: Team) -> None:
    for back in range(4):
        hour(key=key, team=team, hour=NOON - timedelta(hours=12 * back), calls=back + 1)
        hour(served_name="code", hour=NOON - timedelta(hours=12 * back), calls=10)
    days = ask(staff, "/hours", group_by="day")["results"]
    assert [(row["day"], row["calls"]) for row in days] == [("2030-01-31", 23), ("2030-01-30", 27)]
    assert "served_name" not in days[0]
    models = ask(staff, "/hours", group_by="model")["results"]
    assert [(row["served_name"], row["calls"]) for row in models] == [("chat", 10), ("code", 40)]
    teams = ask(staff, "/hours", group_by="team, key", model="chat")["results"]
    assert [(row["team_name"], row["key_name"], row["calls"]) for row in teams] == [("blue", "app", 10)]


def test_sums_are_narrowed_and_paged(staff: Client, key: ApiKey, team: Team) -> None:
    hour(key=key, team=team)
    hour(hour=NOON - timedelta(hours=1), calls=7)
    assert ask(staff, "/hours", team=team.pk)["totals"]["calls"] == 1
    assert ask(staff, "/hours", key=key.pk)["totals"]["calls"] == 1
    assert ask(staff, "/hours", since=NOON.isoformat())["totals"]["calls"] == 1
    assert ask(staff, "/hours", until=NOON.isoformat())["totals"]["calls"] == 7
    page = ask(staff, "/hours", limit=1)
    assert (page["count"], len(page["results"]), page["totals"]["calls"]) == (2, 1, 8)
    assert page["next"] is not None


def test_without_any_usage_the_totals_are_nothing(staff: Client) -> None:
    answer = ask(staff, "/hours", group_by="day")
    took = {name: answer["totals"].pop(name) for name in QUANTILES}
    assert (answer["results"], set(answer["totals"].values()), set(took.values())) == ([], {0}, {None})


def times(row: dict[str, Any]) -> list[float | None]:
    """Rounded: they are told to within 2 %."""
    told = [row[name] for name in ("ttft_p50_seconds", "ttft_p95_seconds", "e2e_p50_seconds", "e2e_p95_seconds")]
    return [value if value is None else round(value) for value in told]


def test_each_group_says_how_long_its_calls_took(staff: Client, key: ApiKey) -> None:
    hour(key=key)
    hour(served_name="code")
    for number in range(21):
        call(key=key, stream=True, ttft_seconds=float(number), e2e_seconds=10.0 + number)
    call(key=key, e2e_seconds=1000.0, outcome="cancelled")
    call(served_name="code", e2e_seconds=3.0)
    chat, code = ask(staff, "/hours", group_by="model")["results"]
    assert times(chat) == [10, 19, 20, 29]
    assert times(code) == [None, None, 3, 3]
    assert times(ask(staff, "/hours")["totals"])[:2] == [10, 19]
    by_key = ask(staff, "/hours", group_by="hour,day,key,team,model", key=key.pk)["results"]
    assert [times(row) for row in by_key] == [[10, 19, 20, 29]]
    header, row, _ = table(staff.get("/api/usage/hours?group_by=model&format=csv"))
    assert (header[-1], round(float(row[-1]))) == ("e2e_p95_seconds", 29)


def test_how_long_calls_took_is_told_of_the_hours_that_are_summed(staff: Client) -> None:
    for back in (0, 1):
        hour(hour=NOON - timedelta(hours=back))
        call(at=NOON - timedelta(hours=back) + timedelta(minutes=59), e2e_seconds=1.0 + back)
    begun = (NOON - timedelta(minutes=30)).isoformat()  # the hour before has begun already
    assert times(ask(staff, "/hours", since=begun)["totals"])[2:] == [1, 1]
    assert times(ask(staff, "/hours", until=begun)["totals"])[2:] == [2, 2]


@pytest.mark.parametrize("group_by", ["week", "day,colour", "day,"])
def test_only_what_exists_can_be_added_up_by(staff: Client, group_by: str) -> None:
    answer = staff.get("/api/usage/hours", {"group_by": group_by})
    assert (answer.status_code, list(answer.json()["fields"])) == (400, ["group_by"])


def test_csv_has_every_call_whatever_the_page(staff: Client, key: ApiKey) -> None:
    for _ in range(3):
        call(key=key, prompt_tokens=7)
    header, *rows = table(staff.get("/api/usage?format=csv&limit=1"))
    assert header[:4] == ["id", "at", "key", "key_name"]
    assert len(rows) == 3
    told = dict(zip(header, rows[0], strict=True))
    assert (told["at"], told["key_name"], told["prompt_tokens"]) == ("2030-01-31T12:00:00+00:00", "app", "7")
    assert (told["ttft_seconds"], told["team"], told["stream"]) == ("", "", "false")


def test_csv_of_sums_has_the_columns_they_are_grouped_by(staff: Client) -> None:
    hour(calls=2)
    answer = staff.get("/api/usage/hours?group_by=day,model", headers={"Accept": "text/csv"})
    header, row = table(answer)
    assert (header[:3], row[:3]) == (["day", "served_name", "calls"], ["2030-01-31", "chat", "2"])
    assert answer["Content-Disposition"] == 'attachment; filename="usage-hours.csv"'


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "＝1"])
def test_no_cell_is_a_formula(staff: Client, name: str) -> None:
    call(key=factories.api_key(name=name)[0])
    header, row = table(staff.get("/api/usage?format=csv"))
    assert row[header.index("key_name")] == f"'{name}"


def test_a_number_below_zero_stays_a_number(staff: Client) -> None:
    call(gpu_seconds=-1.0)
    header, row = table(staff.get("/api/usage?format=csv"))
    assert row[header.index("gpu_seconds")] == "-1.0"


@pytest.mark.django_db(transaction=True)
async def test_csv_is_sent_in_pieces(async_client: AsyncClient) -> None:
    _, plain = await sync_to_async(factories.api_key)("read")
    await UsageRecord.objects.abulk_create(
        UsageRecord(
            served_name="chat", path="/v1/completions", status=200, outcome="ok", stream=False, e2e_seconds=1, at=NOON
        )
        for _ in range(2500)
    )
    answer = await async_client.get("/api/usage?format=csv", headers={"Authorization": f"Bearer {plain}"})
    pieces = [piece async for piece in answer.streaming_content]
    assert len(pieces) == 4
    assert b"".join(pieces).count(b"\r\n") == 2501
    await sync_to_async(connections.close_all)()


def test_options_and_other_formats_are_answered(staff: Client) -> None:
    assert staff.options("/api/usage?format=csv")["Content-Type"] == "application/json"
    assert staff.get("/api/usage?format=xml").status_code == 404


def test_the_admin_shows_usage_and_changes_none(staff: Client) -> None:
    for row in (call(), hour()):
        page = f"/admin/gateway/{row._meta.model_name}/"
        assert staff.get(page).status_code == 200
        assert staff.get(f"{page}{row.pk}/change/").status_code == 200
        assert staff.post(f"{page}{row.pk}/change/", {"served_name": "x"}).status_code == 403
        assert staff.get(f"{page}add/").status_code == 403
        assert staff.post(f"{page}{row.pk}/delete/", {"post": "yes"}).status_code == 403


@pytest.mark.parametrize(
    ("params", "index"),
    [
        ({"team": "blue"}, "usage_of_team"),
        ({"model": "chat"}, "usage_of_model"),
        ({"model": "gpt-4"}, "usage_of_alias"),
        ({"outcome": "model_failed"}, "usage_not_ok"),
    ],
)
def test_a_page_of_few_among_many_calls_is_read_from_an_index_in_its_order(
    staff: Client, team: Team, params: dict[str, str], index: str
) -> None:
    UsageRecord.objects.bulk_create(
        UsageRecord(
            served_name="other", path="/v1/completions", status=200, outcome="ok", stream=False, e2e_seconds=1, at=at
        )
        for at in (NOON + timedelta(seconds=second) for second in range(5000))
    )
    for second in range(200):
        call(team=team, asked_name="gpt-4", outcome="model_failed", at=NOON - timedelta(seconds=second))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE gateway_usagerecord")
        with CaptureQueriesContext(connection) as queries:
            assert ask(staff, "", limit=25, **params)["count"] == 200
        [asked] = [query["sql"] for query in queries if "LIMIT 25" in query["sql"]]
        cursor.execute(f"EXPLAIN {asked}")
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert f"using {index}" in plan, plan
    assert "Seq Scan on gateway_usagerecord" not in plan


def test_of_very_many_calls_no_more_are_counted_than_need_be(staff: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls_pagination, "COUNTED", 3)
    for _ in range(7):
        call()
    pages = [ask(staff, "", limit=2, offset=offset) for offset in (0, 2, 6)]
    assert [(page["count"], page["more"], page["next"] is None) for page in pages] == [
        (5, True, False),
        (7, False, False),
        (7, False, True),
    ]
