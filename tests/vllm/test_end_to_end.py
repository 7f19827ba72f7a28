"""One deployment from its first row to its last, through the REST API and the gateway, on each kind of engine."""

import os
from pathlib import Path
from typing import Any

import httpx2
import pytest
from django.conf import settings
from openai import OpenAI

from tests.e2e.stack import tail
from tests.patience import until
from tests.vllm import tiny_model
from tests.vllm.conftest import Site

pytestmark = pytest.mark.django_db(transaction=True)
_EXECUTABLE = os.environ.get("SARDEENZ_TEST_VLLM", "")
_MIB = 2**20
_REAL = pytest.param(
    {"kind": "vllm-cpu", "executable": _EXECUTABLE, "version": "0.30.0", "kvcached": False},
    {"extra_args": ["--load-format", "dummy", "--enforce-eager", "--max-num-seqs", "4"], "kv_cap_bytes": 32 * _MIB},
    id="vllm",
    marks=[
        pytest.mark.vllm,
        pytest.mark.timeout(900),
        pytest.mark.skipif(not _EXECUTABLE, reason="SARDEENZ_TEST_VLLM names no vllm"),
    ],
)
_SIMULATED = pytest.param(
    {"kind": "simulator", "executable": "", "version": "0.30.0", "kvcached": True},
    {"extra_args": ["--load-seconds", "0.2"]},
    id="simulator",
    marks=pytest.mark.e2e,
)


class Operator:
    """Somebody at the REST API."""

    def __init__(self, api: httpx2.Client) -> None:
        self._api = api

    def post(self, path: str, **fields: Any) -> dict[str, Any]:
        """Create or act."""
        answer = self._api.post(f"/api/{path}", json=fields)
        assert answer.is_success, answer.text
        row: dict[str, Any] = answer.json()
        return row

    def state(self, deployment: int) -> str:
        """Where the deployment's replica stands."""
        rows = self._api.get("/api/replicas").json()["results"]
        return next((str(row["state"]) for row in rows if row["deployment"] == deployment), "none")

    def wait(self, deployment: int, *states: str) -> None:
        """Wait for one of these states."""
        try:
            until(lambda: self.state(deployment) in (*states, "failed"), f"it is {states}", 400)
            assert self.state(deployment) in states
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.state(deployment)}\n{tail()}") from error


def _stream(client: OpenAI) -> tuple[str, int]:
    """A streamed chat: its text, and the tokens its usage counted."""
    messages: Any = [{"role": "user", "content": "hello"}]
    options: Any = {"include_usage": True}
    chunks = client.chat.completions.create(
        model="sprat",
        messages=messages,
        max_tokens=16,
        temperature=0,
        stream=True,
        stream_options=options,
        extra_body={"ignore_eos": True},
    )
    text, tokens = "", 0
    for chunk in chunks:
        text += "".join(choice.delta.content or "" for choice in chunk.choices)
        tokens = chunk.usage.completion_tokens if chunk.usage else tokens
    return text, tokens


@pytest.mark.parametrize(("runtime", "deployment"), [_SIMULATED, _REAL])
def test_a_deployment_serves_sleeps_wakes_on_request_and_stops(
    site: Site, runtime: dict[str, Any], deployment: dict[str, Any]
) -> None:
    tiny_model.write(Path(settings.MODELS_DIR) / "sprat")
    with site.api() as api, OpenAI(base_url=site.stack.url, api_key=site.stack.key, timeout=300) as client:
        operator = Operator(api)
        operator.post("models", name="sprat", source="sprat")
        operator.post("runtimes", name="engine", **runtime)
        row = operator.post(
            "deployments", name="sprat", model="sprat", runtime="engine", weights_bytes=64 * _MIB, **deployment
        )
        identity = int(row["id"])

        operator.post(f"deployments/{identity}/deploy")
        operator.wait(identity, "ready")
        assert [card.id for card in client.models.list()] == ["sprat"]
        before = _stream(client)
        assert before[1] == 16

        operator.post(f"deployments/{identity}/sleep")
        operator.wait(identity, "sleeping")
        assert _stream(client) == before  # the request wakes it
        operator.wait(identity, "ready")

        operator.post(f"deployments/{identity}/stop")
        operator.wait(identity, "stopped")
        until(lambda: not site.stack.engines(), "the engine is gone")
