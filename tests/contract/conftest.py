"""The targets, and one running engine of each for the tests that leave it as they found it."""

import os
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.contract.engines import Engine, Target, running, simulator, vllm
from tests.vllm import tiny_model

_EXECUTABLE = os.environ.get("SARDEENZ_TEST_VLLM", "")
_REAL = pytest.param("vllm", marks=[pytest.mark.vllm, pytest.mark.timeout(600)])


@pytest.fixture(scope="session", params=["simulator", *([_REAL] if _EXECUTABLE else [])])
def target(request: pytest.FixtureRequest) -> Target:
    """The kind of engine under test."""
    return vllm(_EXECUTABLE) if request.param == "vllm" else simulator()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For logs."""
    return tmp_path_factory.mktemp("engines")


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that both can serve."""
    return tiny_model.write(tmp_path_factory.mktemp("models") / "sprat")


@pytest.fixture(scope="session")
def engine(target: Target, model: Path, folder: Path) -> Iterator[Engine]:
    """A running engine."""
    with running(target, model, folder) as engine:
        yield engine


@pytest.fixture
def client(engine: Engine) -> Iterator[httpx2.Client]:
    """HTTP to the running engine, with its key."""
    with engine.client() as client:
        yield client


@pytest.fixture
def awake(engine: Engine, client: httpx2.Client) -> Iterator[httpx2.Client]:
    """For tests that put the engine to sleep: it wakes afterwards."""
    yield client
    client.post("/wake_up").raise_for_status()
