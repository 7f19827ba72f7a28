"""Folders through the API: what is registered, what is promised for it, and what is refused in words."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from models_app.memory import placement
from models_app.models import Deployment, Model, Replica
from tests import factories
from tests.models_app.catalogue.folders import LLAMA, folder, weights

pytestmark = pytest.mark.django_db
MIB, GIB = 2**20, 2**30


@pytest.fixture
def operator(client: Client) -> Client:
    client.force_login(factories.user(is_staff=True))
    return client


@pytest.fixture
def models(settings: Settings, tmp_path: Path) -> Path:
    settings.MODELS_DIR = tmp_path
    return tmp_path


def register(client: Client, name: str) -> tuple[int, Any]:
    answer = client.post("/api/models", {"name": name, "source": name}, content_type="application/json")
    return answer.status_code, answer.json()


def deployment(name: str, **fields: Any) -> Deployment:
    unsaid = {"weights_bytes": None, "overhead_bytes": None, "kv_floor_bytes": None}
    return factories.deployment(name=name, model=Model.objects.get(name=name), **(unsaid | fields))


def deploy(client: Client, of: Deployment) -> tuple[int, Any]:
    answer = client.post(f"/api/deployments/{of.pk}/deploy", {}, content_type="application/json")
    return answer.status_code, answer.json()


@pytest.mark.parametrize(("extra_args", "loaded"), [([], 15), (["--dtype", "float32"], 30), (["--dtype=half"], 15)])
def test_weights_stored_in_32_bits_count_as_they_are_loaded(
    operator: Client, models: Path, extra_args: list[str], loaded: int
) -> None:
    root = folder(models / "fp32", LLAMA | {"torch_dtype": "float32"})
    weights(root / "model.safetensors", 30 * GIB, "F32")
    status, row = register(operator, "fp32")
    assert (status, row["facts"]["weights_bytes"]) == (201, 30 * GIB)
    assert placement.need(deployment("fp32", extra_args=extra_args)).weights_bytes == loaded * GIB


def test_scales_of_quantised_weights_stay_as_they_are(operator: Client, models: Path) -> None:
    root = folder(models / "int4", LLAMA | {"quantization_config": {"quant_method": "gptq", "bits": 4}})
    weights(root / "model-00001-of-00002.safetensors", GIB, "I32")
    weights(root / "model-00002-of-00002.safetensors", GIB, "F32")
    register(operator, "int4")
    assert placement.need(deployment("int4")).weights_bytes == 2 * GIB


def test_an_fp8_kv_cache_takes_half_of_the_floor(operator: Client, models: Path) -> None:
    folder(models / "llama", LLAMA, model=GIB)
    register(operator, "llama")
    of = deployment("llama")
    assert placement.need(of).kv_floor_bytes == 4096 * 131_072
    of.extra_args = ["--kv-cache-dtype", "fp8_e5m2"]
    assert placement.need(of).kv_floor_bytes == 4096 * 65_536


def test_a_mistral_folder_is_listed_registered_and_measured(operator: Client, models: Path) -> None:
    root = folder(models / "ministral")
    params = {"dim": 4096, "n_layers": 32, "n_heads": 32, "n_kv_heads": 8, "head_dim": 128, "vocab_size": 32768}
    (root / "params.json").write_text(json.dumps(params))
    weights(root / "consolidated.safetensors", 15 * GIB)
    assert operator.get("/api/models/folders").json() == ["ministral"]
    status, row = register(operator, "ministral")
    assert (status, row["facts"]["weights_bytes"]) == (201, 15 * GIB)
    assert placement.need(deployment("ministral")).kv_floor_bytes == 4096 * 131_072


@pytest.mark.parametrize("config", ['{"vocab_size": "\\u0000", "torch_dtype": "\\ud800"}', '{"q_lora_rank": NaN}'])
def test_what_a_database_would_refuse_is_no_500(operator: Client, models: Path, config: str) -> None:
    folder(models / "odd", config, model=MIB)
    status, row = register(operator, "odd")
    assert (status, row["facts"]["weights_bytes"]) == (201, MIB)
    assert operator.get("/api/models").status_code == 200


@pytest.mark.parametrize(
    ("config", "wrong"),
    [
        ('{"head_dim": NaN}', "head_dim must be a whole number, not 'nan'"),
        ('{"n_layer": "many"}', "n_layer must be a whole number, not 'many'"),
        ('{"text_config": {"num_attention_heads": [8, null]}}', "num_attention_heads must be a whole number"),
    ],
)
def test_a_field_of_another_type_is_refused_by_its_name(
    operator: Client, models: Path, config: str, wrong: str
) -> None:
    folder(models / "odd", config, model=MIB)
    status, body = register(operator, "odd")
    assert status == 400
    assert f"odd: config.json: {wrong}" in json.dumps(body)
    assert not Model.objects.exists()


def test_a_refusal_names_the_folder_and_what_is_wrong(operator: Client, models: Path) -> None:
    folder(models / "half", LLAMA, index={"weight_map": {"a": "a.safetensors", "b": "b.safetensors"}}, a=MIB)
    status, body = register(operator, "half")
    assert (status, body["code"], list(body["fields"])) == (400, "invalid_spec", ["source"])
    assert "half: 1 of 2 weight files are missing: b.safetensors" in body["message"]


def test_files_that_went_since_are_missed_before_the_load(operator: Client, models: Path) -> None:
    factories.gpu()
    root = folder(models / "llama", LLAMA, model=GIB)
    register(operator, "llama")
    of = deployment("llama")
    (root / "model.safetensors").write_bytes(b"")
    status, body = deploy(operator, of)
    assert (status, body["code"]) == (400, "invalid_spec")
    assert "model.safetensors is empty" in body["message"]
    assert not Replica.objects.exists()
    weights(root / "model.safetensors", 2 * GIB)
    assert deploy(operator, of)[0] == 202
    assert Replica.objects.get().spec["weights_bytes"] == 2 * GIB
    assert Model.objects.get().facts["weights_bytes"] == 2 * GIB


def test_what_runs_already_is_deployed_again_whatever_became_of_its_files(operator: Client, models: Path) -> None:
    folder(models / "llama", LLAMA, model=GIB)
    register(operator, "llama")
    of = deployment("llama")
    factories.replica(deployment=of)
    (models / "llama" / "config.json").unlink()
    assert deploy(operator, of)[0] == 202
