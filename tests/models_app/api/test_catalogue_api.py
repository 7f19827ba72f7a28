"""/api/models and /api/runtimes: what deployments point at."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from models_app.models import EngineRuntime, Model
from tests import factories

pytestmark = pytest.mark.django_db
CONFIG = {"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}


@pytest.fixture
def operator(client: Client) -> Client:
    client.force_login(factories.user(is_staff=True))
    return client


@pytest.fixture
def folder(settings: Settings, tmp_path: Path) -> Path:
    """A model in the models directory."""
    settings.MODELS_DIR = tmp_path / "models"
    made = tmp_path / "models" / "org" / "tiny"
    made.mkdir(parents=True)
    (made / "config.json").write_text(json.dumps(CONFIG))
    return made


def create(client: Client, to: str, **fields: object) -> tuple[int, Any]:
    answer = client.post(f"/api/{to}", fields, content_type="application/json")
    return answer.status_code, answer.json()


def test_a_hub_id_is_kept_as_it_is(operator: Client) -> None:
    status, row = create(operator, "models", name="llama", source="meta-llama/Llama-3.1-8B", revision="abc")
    assert (status, row["source"], row["revision"], row["facts"]) == (201, "meta-llama/Llama-3.1-8B", "abc", {})


@pytest.mark.parametrize("source", ["org/tiny", "{folder}", "./org/tiny"])
def test_a_folder_becomes_its_real_path_and_tells_its_facts(operator: Client, folder: Path, source: str) -> None:
    status, row = create(operator, "models", name="tiny", source=source.format(folder=folder))
    assert (status, row["source"]) == (201, str(folder))
    assert row["facts"]["hidden_size"] == 64
    assert operator.get("/api/models/folders").json() == ["org/tiny"]


@pytest.mark.parametrize(
    "source",
    [
        "/etc",
        "../secret",
        "org/../../secret",
        "{models}",
        "{models}-evil/x",
        "{models}/link",
        "{models}/nothing",
        "~/x",
        "a b",
        "a\0b",
        "org/tiny/deeper/still",
        "--flag",
        "https://example.com/x",
    ],
)
def test_a_folder_elsewhere_is_refused(operator: Client, folder: Path, tmp_path: Path, source: str) -> None:
    for name in ("secret", "models-evil/x"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.json").write_text("{}")
    (tmp_path / "models" / "link").symlink_to(tmp_path / "secret")
    status, body = create(operator, "models", name="x", source=source.format(models=tmp_path / "models"))
    assert (status, list(body["fields"])) == (400, ["source"])
    assert operator.get("/api/models/folders").json() == ["org/tiny"]


def test_a_broken_config_is_refused_in_words(operator: Client, folder: Path) -> None:
    (folder / "config.json").write_text("not json")
    status, body = create(operator, "models", name="x", source="org/tiny")
    assert (status, list(body["fields"])) == (400, ["source"])
    assert "cannot be read" in body["message"]


def test_another_source_has_other_facts(operator: Client, folder: Path) -> None:
    model = factories.model()
    answer = operator.patch(f"/api/models/{model.pk}", {"source": "org/tiny"}, content_type="application/json")
    assert (answer.status_code, answer.json()["facts"]["hidden_size"]) == (200, 64)


def test_what_a_deployment_uses_stays(operator: Client) -> None:
    deployment = factories.deployment()
    for path in (f"/api/models/{deployment.model_id}", f"/api/runtimes/{deployment.runtime_id}"):
        answer = operator.delete(path)
        assert (answer.status_code, answer.json()["code"]) == (409, "in_use")
        assert deployment.name in answer.json()["message"]
    deployment.delete()
    assert operator.delete(f"/api/models/{deployment.model_id}").status_code == 204
    assert not Model.objects.exists()


def test_a_runtime_of_vllm_needs_the_path_of_its_command(operator: Client) -> None:
    status, body = create(operator, "runtimes", name="v", kind="vllm-cuda", version="0.30.0", executable="vllm")
    assert (status, list(body["fields"])) == (400, ["executable"])
    status, row = create(operator, "runtimes", name="v", kind="vllm-cuda", version="0.30.0", executable="/opt/v/vllm")
    assert (status, row["kvcached"]) == (201, True)
    assert create(operator, "runtimes", name="s", kind="simulator")[0] == 201


def test_a_runtime_changes_what_is_said(operator: Client) -> None:
    runtime = factories.runtime(name="v", kind=EngineRuntime.Kind.VLLM_CUDA, executable="/opt/v/vllm")
    path = f"/api/runtimes/{runtime.pk}"
    answer = operator.patch(path, {"version": "0.29.0", "environment": {"PATH": "/opt"}}, "application/json")
    assert (answer.status_code, answer.json()["version"], answer.json()["executable"]) == (200, "0.29.0", "/opt/v/vllm")
    answer = operator.patch(path, {"environment": {"VLLM_API_KEY": "x"}}, "application/json")
    assert list(answer.json()["fields"]) == ["environment"]
