"""The installation that the end-to-end tests drive."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection

from tests.e2e.stack import Stack


@pytest.fixture
def stack(service_environment: dict[str, str], tmp_path: Path) -> Iterator[Stack]:
    """Everything running on two simulated 80 GiB GPUs; engines are ended afterwards."""
    made = Stack(service_environment | {"SARDEENZ_STOP_SECONDS": "12"}, tmp_path)
    made.start()
    yield made
    made.stop()
    connection.close()
