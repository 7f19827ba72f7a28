"""Starting simulators on a simulated GPU of their own."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.contract.engines import Engine, running, simulator

GPU = "GPU-sim-lab-0"
GIB = 2**30
Start = Callable[..., AbstractContextManager[Engine]]


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, str]:
    """The environment of an engine with kvcached on one GPU of 24 GiB."""
    for name in ("gpus", "segments"):
        (tmp_path / name).mkdir()
    return {
        "SARDEENZ_SIMULATED_DIR": str(tmp_path / "gpus"),
        "SARDEENZ_SEGMENT_DIR": str(tmp_path / "segments"),
        "SARDEENZ_SIMULATED_GPUS": "1x24GiB",
        "CUDA_VISIBLE_DEVICES": GPU,
        "ENABLE_KVCACHED": "true",
        "KVCACHED_IPC_NAME": "srdz_lab",
        "KVCACHED_MIN_RESERVED_PAGES": "1",
        "KVCACHED_MAX_RESERVED_PAGES": "2",
    }


@pytest.fixture
def start(machine: dict[str, str], tmp_path: Path) -> Start:
    """Start a simulator with these flags: 4 GiB of weights, 1 GiB of overhead, pages of 64 MiB for 512 tokens each."""

    def begin(*flags: str, **environment: str) -> AbstractContextManager[Engine]:
        sizes = ("--weights-bytes", "4G", "--overhead-bytes", "1G", "--wake-seconds", "0", "--sleep-seconds", "0")
        return running(simulator(), Path("lab-model"), tmp_path, *sizes, *flags, **{**machine, **environment})

    return begin
