"""Every family that is known keeps, layer by layer, what the cache that transformers makes for it keeps."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from models_app.catalogue import config, families, layers
from models_app.catalogue.layers import Role, Store
from models_app.catalogue.states import State

_EXECUTABLE = os.environ.get("SARDEENZ_TEST_VLLM", "")
pytestmark = [
    pytest.mark.vllm,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not _EXECUTABLE, reason="SARDEENZ_TEST_VLLM names no vllm"),
]
_OTHERWISE = {
    "longcat_flash": "two attentions a layer: transformers counts each as a layer",
    "minicpm3": "vLLM widens values to keys",
    "deepseek_v4": "transformers makes its cache only beside its model",
    "olmo_hybrid": "its config tells no width of its state",
}
"""Where we go with the engine and not with transformers, and why."""


def model_types() -> list[str]:
    """Those of transformers that are known here, by their names there."""
    script = "from transformers.models.auto.configuration_auto import CONFIG_MAPPING as c; print(' '.join(c))"
    ended = subprocess.run([_python(), "-c", script], check=True, capture_output=True, text=True)
    names = [name for name in ended.stdout.split() if families.is_known(families.named(name))]
    return [name for name in names if name not in _OTHERWISE]


def _python() -> str:
    return str(Path(_EXECUTABLE).parent / "python")


def differences(told: dict[str, Any], theirs: list[dict[str, Any]]) -> list[str]:
    """What our reading of a config says otherwise than their cache."""
    shape = layers.of(config.facts(told))
    if shape.unknown or len(shape.layers) != len(theirs):
        return [shape.unknown or f"{len(shape.layers)} layers, not {len(theirs)}"]
    return [
        f"layer {place}: {wrong}"
        for place, (ours, other) in enumerate(zip(shape.layers, theirs, strict=True))
        if (wrong := _difference(ours, other))
    ]


def _difference(ours: list[Store | State], theirs: dict[str, Any]) -> str:
    stores = [each for each in ours if isinstance(each, Store)]
    if bool(stores) != theirs["tokens"] or (len(ours) > len(stores)) != theirs["state"]:
        return f"{ours}, not {theirs}"
    if not stores:
        return ""
    first = stores[0]
    if first.window != theirs["window"]:
        return f"a window of {first.window}, not {theirs['window']}"
    wide = [first.heads, first.key, first.value]
    return f"{wide}, not {theirs['width']}" if first.role == Role.HEADS and theirs["width"] not in (None, wide) else ""


def test_each_family_keeps_what_transformers_keeps() -> None:
    names = model_types()
    assert len(names) > 150
    script = str(Path(__file__).parent / "caches.py")
    ended = subprocess.run([_python(), script, *names], check=True, capture_output=True, text=True)
    answers = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")]
    assert [each["name"] for each in answers] == names
    wrong = {each["name"]: found[0] for each in answers if (found := differences(each["config"], each["layers"]))}
    assert wrong == {}
    assert sum(any(layer["width"] for layer in each["layers"]) for each in answers) > 80
