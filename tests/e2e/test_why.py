"""A call that wakes a sleeper for which another model is put to sleep, and what `sardeenz why` tells of it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from django.db import connection
from typer.testing import CliRunner

from gateway.models import UsageRecord
from sardeenz.cli.main import app
from tests import factories
from tests.e2e.stack import Stack
from tests.e2e.test_turns import two_models
from tests.patience import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.e2e, pytest.mark.timeout(300)]


@pytest.fixture
def stack(service_environment: dict[str, str], tmp_path: Path) -> Iterator[Stack]:
    """Everything running, with turns short enough for a test."""
    turns = {"SARDEENZ_MIN_RESIDENT_SECONDS": "1", "SARDEENZ_EVICT_WAIT_SECONDS": "0:6"}
    made = Stack(service_environment | turns | {"SARDEENZ_STOP_SECONDS": "12"}, tmp_path)
    try:
        made.start()
        yield made
    finally:
        made.stop()
        connection.close()


def why(*words: str) -> str:
    done = CliRunner().invoke(app, ["why", *words])
    assert done.exit_code == 0, done.output
    return str(done.output)


def test_a_call_that_wakes_one_model_in_anothers_place_names_both(
    stack: Stack, live_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SARDEENZ_URL", live_server.url)
    monkeypatch.setenv("SARDEENZ_TOKEN", factories.api_key("read")[1])
    wanted, resident = two_models(stack)
    headers = {"authorization": f"Bearer {stack.key}", "x-request-id": "the-call-in-question"}
    body = {"model": wanted.spec["served_name"], "prompt": "hi", "max_tokens": 4}
    answer = httpx2.post(f"{stack.url}/completions", json=body, headers=headers, timeout=120)
    assert (answer.status_code, answer.headers["x-request-id"]) == (200, "the-call-in-question")
    until(lambda: UsageRecord.objects.filter(request_id="the-call-in-question").exists(), "the record is written")

    told = json.loads(why("the-call-in-question", "--json", "--inputs"))
    [wait] = [part for part in told["parts"] if part["what"] == "model"]
    assert f"{wanted} was asleep since " in wait["sentence"]
    assert "sleep was asked for by test" in wait["sentence"]
    assert f"{resident} was put to sleep first (" in wait["sentence"]
    assert f"{wanted} woke in " in wait["sentence"]
    [evicted] = [entry for entry in told["entries"] if entry["code"] == "evicted"]
    assert (evicted["replica"], evicted["inputs"]["wanted"]["name"]) == (resident.pk, wanted.deployment.name)
    assert f"{resident} was put to sleep first (" in why("the-call-in-question")
    assert f"evicted for `{wanted.deployment.name}`" in why(str(resident))
