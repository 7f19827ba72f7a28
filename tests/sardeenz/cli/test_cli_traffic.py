"""The command line's teams, keys, aliases, usage and limits of deployments, against the real API over HTTP."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from typer.testing import CliRunner

from gateway.models import Alias, ApiKey, Team, UsageHour
from models_app.models import Deployment
from sardeenz.cli.main import app
from tests import factories

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def run(live_server: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("SARDEENZ_URL", live_server.url)
    monkeypatch.setenv("SARDEENZ_TOKEN", factories.api_key("read", "manage", name="command line")[1])

    def invoke(*words: str, refused: bool = False) -> Any:
        done = CliRunner().invoke(app, words)
        assert done.exit_code == int(refused), done.output
        return done

    return invoke


def made(name: str) -> ApiKey:
    return ApiKey.objects.select_related("team").get(name=name)


def test_a_key_is_made_with_everything_said(run: Any) -> None:
    factories.team("blue")
    factories.deployment(name="chat")
    limits = (
        "--rpm",
        "60",
        "--tpm",
        "1000",
        "--concurrency",
        "4",
        "--tokens-per-day",
        "5000",
        "--tokens-per-month",
        "9000",
    )
    limits += ("--gpu-seconds-per-day", "1.5", "--gpu-seconds-per-month", "20")
    run("keys", "create", "app", "--team", "blue", "--model", "chat", "--expires", "30d", *limits)
    key = made("app")
    assert (str(key.team), key.allowed_models) == ("blue", ["chat"])
    assert (key.requests_per_minute, key.tokens_per_minute, key.concurrent_requests) == (60, 1000, 4)
    assert (key.tokens_per_day, key.tokens_per_month) == (5000, 9000)
    assert (key.gpu_seconds_per_day, key.gpu_seconds_per_month) == (1.5, 20)
    assert key.expires_at is not None
    assert timedelta(days=29) < key.expires_at - datetime.now(UTC) <= timedelta(days=30)


def test_keys_are_shown_without_themselves(run: Any) -> None:
    plain = run("keys", "create", "app", "--rpm", "60").stdout.strip()
    listed, shown = run("keys", "list").stdout, run("keys", "show", str(made("app").pk)).stdout
    for told in (listed, shown):
        assert made("app").prefix in told
        assert plain not in told
    assert "60 requests/min" in listed
    assert json.loads(run("keys", "show", str(made("app").pk), "--json").stdout)["requests_per_minute"] == 60


def test_a_key_is_changed_only_where_something_is_said(run: Any) -> None:
    factories.deployment(name="chat")
    key, _ = factories.api_key(name="app", team=factories.team("blue"), tokens_per_day=5, requests_per_minute=1)
    run("keys", "update", str(key.pk), "--tokens-per-day", "0", "--model", "chat", "--expires", "2040-01-01")
    key = made("app")
    assert (str(key.team), key.tokens_per_day, key.requests_per_minute) == ("blue", None, 1)
    assert (key.allowed_models, key.expires_at) == (["chat"], datetime(2040, 1, 1, tzinfo=UTC))
    run("keys", "update", str(key.pk), "--every-model", "--team", "", "--expires", "never", "--name", "other")
    key = made("other")
    assert (key.team, key.allowed_models, key.expires_at) == (None, [], None)
    run("keys", "update", str(key.pk), "--every-model", "--model", "chat", refused=True)
    assert "soon" in run("keys", "update", str(key.pk), "--expires", "soon", refused=True).stderr


def test_keys_of_a_team_are_listed_alone(run: Any) -> None:
    factories.api_key(name="app", team=factories.team("blue"))
    assert [key["name"] for key in json.loads(run("keys", "list", "--team", "blue", "--json").stdout)] == ["app"]


def test_teams_are_made_changed_listed_and_deleted(run: Any) -> None:
    run("teams", "create", "blue", "--weight", "3", "--tpm", "1000")
    assert (
        "blue: weight 5, priority -1, limits -"
        in run("teams", "update", "blue", "--weight", "5", "--priority", "-1", "--tpm", "0").stdout
    )
    run("teams", "update", "blue", "--rename", "green", "--gpu-seconds-per-day", "0.5")
    assert Team.objects.get().gpu_seconds_per_day == 0.5
    assert "0.5 GPU s/day" in run("teams", "list").stdout
    factories.api_key(name="app", team=Team.objects.get())
    assert "team_in_use" in run("teams", "delete", "green", refused=True).stderr
    ApiKey.objects.filter(name="app").delete()
    run("teams", "delete", "green")
    assert json.loads(run("teams", "list", "--json").stdout) == []
    assert "no team 'green'" in run("teams", "delete", "green", refused=True).stderr


def test_an_alias_is_set_and_set_again(run: Any) -> None:
    for name in ("chat", "chat-canary", "backup"):
        factories.deployment(name=name)
    done = run("aliases", "set", "gpt-4", "chat=90", "chat-canary=10", "backup=0")
    assert done.stdout == "gpt-4: chat=90 chat-canary=10 backup=0\n"
    run("aliases", "set", "gpt-4", "backup", "chat=0")
    assert "backup=1 chat=0" in run("aliases", "list").stdout
    run("aliases", "delete", "gpt-4")
    assert not Alias.objects.exists()
    assert "no alias" in run("aliases", "delete", "gpt-4", refused=True).stderr


@pytest.mark.parametrize("targets", [["nobody=1"], ["chat=much"], ["chat=0"], ["chat=-1"]])
def test_a_wrong_target_is_refused(run: Any, targets: list[str]) -> None:
    factories.deployment(name="chat")
    run("aliases", "set", "gpt-4", *targets, refused=True)
    assert not Alias.objects.exists()


def used(back: timedelta, **fields: Any) -> None:
    hour = (datetime.now(UTC) - back).replace(minute=0, second=0, microsecond=0)
    UsageHour.objects.create(**({"hour": hour, "served_name": "chat", "calls": 1} | fields))


def test_usage_is_added_up_as_asked(run: Any) -> None:
    key, _ = factories.api_key(name="app", team=factories.team("blue"))
    used(timedelta(hours=1), key=key, team=key.team, calls=1200, prompt_tokens=34567)
    used(timedelta(days=2), served_name="code", calls=3)
    used(timedelta(days=20), calls=99)
    told = run("usage").stdout
    assert [line.split()[:2] for line in told.splitlines()] == [
        ["model", "calls"],
        ["chat", "1,200"],
        ["code", "3"],
        ["all", "1,203"],
    ]
    assert "34,567" in told
    told = json.loads(run("usage", "--by", "team,key", "--since", "12h", "--json").stdout)
    assert [(row["team_name"], row["key_name"], row["calls"]) for row in told] == [("blue", "app", 1200)]
    assert sum(row["calls"] for row in json.loads(run("usage", "--since", "4w", "--json").stdout)) == 1302
    assert json.loads(run("usage", "--model", "code", "--key", str(key.pk), "--json").stdout) == []
    assert json.loads(run("usage", "--until", "1d", "--team", "blue", "--json").stdout) == []


def test_usage_can_be_had_as_csv(run: Any) -> None:
    used(timedelta(hours=1), calls=7)
    header, row = csv.reader(io.StringIO(run("usage", "--by", "day,model", "--csv").stdout))
    assert dict(zip(header, row, strict=True))["calls"] == "7"


def test_usage_says_what_cannot_be_asked(run: Any) -> None:
    for words in (("--by", "colour"), ("--since", "yesterday"), ("--by", "colour", "--csv"), ("--team", "nobody")):
        assert words[1] in run("usage", *words, refused=True).stderr


def test_deploy_gives_limits_and_changes_them(run: Any) -> None:
    factories.gpu()
    factories.runtime()
    limits = ("--max-concurrency", "8", "--queue-limit", "0", "--queue-seconds", "2.5", "--prefix-affinity")
    run("deploy", "tiny", "--model", "sample/tiny", "--weights", "2GiB", "--capture", "1h", *limits)
    row = Deployment.objects.get()
    assert (row.max_concurrency, row.queue_limit, row.queue_seconds, row.prefix_affinity) == (8, 0, 2.5, True)
    assert row.capture_until is not None
    run("deploy", "tiny", "--max-concurrency", "4", "--no-prefix-affinity")
    row.refresh_from_db()
    assert (row.max_concurrency, row.queue_limit, row.prefix_affinity, row.replicas) == (4, 0, False, 1)
    run("deploy", "other", refused=True)
