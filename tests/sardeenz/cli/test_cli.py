"""The command line against the real API, over HTTP."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sardeenz import heartbeats, redis
from sardeenz.cli import config, read
from sardeenz.cli.main import app
from tests import factories

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def run(live_server: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("SARDEENZ_URL", live_server.url)
    monkeypatch.setenv("SARDEENZ_TOKEN", factories.api_key("read", "manage")[1])

    def invoke(*words: str) -> Any:
        return CliRunner().invoke(app, words)

    return invoke


def test_status_shows_gpus_and_replicas(run: Any) -> None:
    replica = factories.replica()
    shown = run("status").stdout
    assert replica.gpu.uuid in shown
    assert f"{replica.deployment.name}/{replica.pk}" in shown


def test_status_says_who_is_silent_and_since_when(run: Any) -> None:
    gpu = factories.gpu()
    word = json.dumps({"pid": 1, "host": "here", "at": time.time() - 60})
    redis.client().hset(heartbeats.NAME, f"{gpu.node.name}/gpu-{gpu.uuid}", word)
    heartbeats.say("node")
    shown = " ".join(run("status").stdout.split())
    assert f"The worker of GPU {gpu.index} on {gpu.node.name} is silent since" in shown
    assert "The loop that reads" not in shown


def test_every_read_can_be_had_as_json(run: Any) -> None:
    factories.replica()
    for words in (["status"], ["gpus"], ["models"], ["history"], ["keys", "list"]):
        assert json.loads(run(*words, "--json").stdout) is not None


def test_deploy_makes_model_and_deployment_and_places_it(run: Any) -> None:
    factories.gpu()
    factories.runtime()
    done = run("deploy", "tiny", "--model", "sample/tiny", "--runtime", "simulator", "--weights", "2GiB")
    assert done.exit_code == 0, done.output
    assert "1 of 1 replicas placed" in done.stdout


@pytest.mark.parametrize("by", ["name", "id", "both"])
def test_a_verb_takes_a_deployment_or_one_of_its_replicas(run: Any, by: str) -> None:
    replica = factories.replica()
    name = replica.deployment.name
    done = run("sleep", {"name": name, "id": str(replica.pk), "both": f"{name}/{replica.pk}"}[by])
    assert done.exit_code == 0, done.output
    replica.refresh_from_db()
    assert replica.goal == "sleeping"


def test_a_refusal_is_said_in_the_apis_words(run: Any) -> None:
    replica = factories.replica()
    done = run("move", str(replica.pk), "GPU-nowhere")
    assert done.exit_code == 1
    assert "GPU-nowhere" in done.stderr


def test_keys_are_made_listed_and_revoked(run: Any) -> None:
    assert run("keys", "create", "ci").stdout.startswith("sk-srdz-")
    made = json.loads(run("keys", "list", "--json").stdout)[0]
    assert made["name"] == "ci"
    assert run("keys", "revoke", str(made["id"])).exit_code == 0


def test_without_an_installation_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "current", config.Config)
    done = CliRunner().invoke(app, ["status"])
    assert done.exit_code == 1
    assert "sardeenz up" in done.stderr


def test_what_it_keeps_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    kept = config.Config(url="http://a", token="secret")
    config.save(tmp_path, kept)
    assert (tmp_path / "cli.json").stat().st_mode & 0o077 == 0
    assert config.load(tmp_path) == kept


def test_following_a_log_shows_each_line_once() -> None:
    assert read._newer(["a", "b"], ["a", "b", "c"]) == ["c"]
    assert read._newer(["a", "b"], ["x"]) == ["x"]
    assert read._newer([], ["a"]) == ["a"]
    assert read._newer(["a", "b", "c"], ["b", "c", "d"]) == ["d"], "the first has left the window"
    assert read._newer(["x"], ["x", "y", "x", "z"]) == ["y", "x", "z"], "a line may come again"
