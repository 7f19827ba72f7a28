"""One installation for all clients; on it each kind of engine once."""

import os
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from tests.clients.installation import BIN, ROOT, SIMULATOR, Installation, Site, vllm

collect_ignore_glob = [] if find_spec("langchain_openai") else ["test_*.py"]  # another environment: `make test`
_EXECUTABLE = os.environ.get("SARDEENZ_TEST_VLLM", "")
_REAL = pytest.param("vllm", marks=pytest.mark.timeout(600))  # the first one waits until it is loaded
# What a client would tell or ask others at home.
os.environ |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LANGSMITH_TRACING": "false", "NO_PROXY": "127.0.0.1"}


@pytest.fixture(scope="session")
def installation() -> Iterator[Installation]:
    """Everything, from PostgreSQL to the gateways."""
    made = Installation()
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="session", params=["simulator", *([_REAL] if _EXECUTABLE else [])])
def site(request: pytest.FixtureRequest, installation: Installation) -> Site:
    """Models on one kind of engine."""
    if request.param == "simulator":
        return installation.serve("simulator", SIMULATOR, "sample/sprat-1b")
    folder = installation.data_dir / "models" / "sprat"
    subprocess.run([BIN / "python", "-m", "tests.clients.tiny_vision", folder], cwd=ROOT, check=True)
    return installation.serve("vllm", vllm(_EXECUTABLE), "sprat")
