"""Whatever stands in a config's fields: a sane estimate or none, and never an exception."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models_app.catalogue import config
from models_app.memory import estimate
from tests.models_app.catalogue.folders import LLAMA

FIELDS = sorted(
    {*LLAMA, *config._PER_LAYER, *config._NUMBERS, *config._FLAGS, *config._TEXTS, *config._PATTERNS}
    - {"weights_bytes", "weights_by_dtype"}
)
NAMES = [*FIELDS, "quantization_config", "text_config", "llm_config"]
LEAVES = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=6)
WORDS = st.sampled_from(["LLLG", "full_attention", "4", "²", "float32", "M*-", "\0", "\ud800", "bits", "attention"])
VALUES = st.recursive(
    LEAVES | WORDS | st.sampled_from([0, 1, 2, 4, 8, -1, 1e400]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES) | WORDS, inner, max_size=4),
    max_leaves=12,
)


def check(told: dict[str, Any]) -> None:
    facts = config.facts(told)
    assert config.facts(facts) == facts  # what was kept is understood the same way again
    for width in (1, 3):
        found = estimate.estimate(facts, tensor_parallel=width, kind="vllm-cuda")
        if found is not None:
            sizes = (found.weights_bytes, found.overhead_bytes, found.kv_bytes_per_token, found.kv_floor_bytes or 0)
            assert all(isinstance(size, int) and size >= 0 for size in sizes)
            assert found.weights_bytes + found.overhead_bytes + (found.kv_floor_bytes or 0) < 2**60


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=6))
def test_any_value_in_any_field(odd: dict[str, Any]) -> None:
    check(LLAMA | odd)
    check(odd)


@pytest.mark.parametrize(
    "value", [None, [], {}, "", "x", [1], ["x"], [None], {"x": 1}, True, 0, -1, 2**63, 1e300, [[]], [{}], float("nan")]
)
def test_each_field_with_each_type(value: object) -> None:
    for name in NAMES:
        check(LLAMA | {name: value})


def test_nothing_that_a_database_refuses_is_kept() -> None:
    told = config.facts(LLAMA | {"model_type": "a\0b\ud800", "quantization_config": {"x\0": float("inf")}})
    assert told["model_type"] == "ab?"
    assert told["quantization_config"] == {"x": None}
