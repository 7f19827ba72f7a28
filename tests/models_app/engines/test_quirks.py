"""What the table of vLLM versions says."""

import pytest

from models_app.engines import quirks

V1_RUNNER = {"VLLM_USE_V2_MODEL_RUNNER": "0"}


@pytest.mark.parametrize(
    ("version", "numbers"),
    [("v0.30.0", (0, 30, 0)), ("0.30.0+cpu", (0, 30, 0)), ("0.31", (0, 31, 0)), ("0.27.1rc2.dev3", (0, 27, 1))],
)
def test_a_version_is_its_first_three_numbers(version: str, numbers: tuple[int, int, int]) -> None:
    assert quirks.parse(version) == numbers


@pytest.mark.parametrize("version", ["", "dev", "nightly-0.30"])
def test_what_is_no_version_is_unknown(version: str) -> None:
    assert quirks.parse(version) is None


@pytest.mark.parametrize(
    ("version", "supported"),
    [
        ("0.16.9", False),
        ("0.17.0", True),
        ("0.26.0", True),
        ("0.30.0", True),
        ("0.30.2+cu130", True),
        ("0.31.0", False),
        ("1.0.0", False),
        ("", True),
    ],
)
def test_kvcached_supports_vllm_0_17_to_0_30(version: str, supported: bool) -> None:
    assert quirks.kvcached_supports(version) is supported


@pytest.mark.parametrize(
    ("version", "kvcached", "expected"),
    [
        ("0.21.0", True, {}),
        ("0.22.0", True, V1_RUNNER),
        ("0.27.3", True, V1_RUNNER),
        ("0.28.0", True, {}),
        ("0.30.0", True, {}),
        ("0.26.0", False, {}),
        ("", True, {}),
    ],
)
def test_kvcached_needs_the_first_runner_in_0_22_to_0_27(
    version: str, kvcached: bool, expected: dict[str, str]
) -> None:
    assert quirks.environment(version, kvcached=kvcached) == expected
