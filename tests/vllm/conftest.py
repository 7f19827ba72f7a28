"""A whole installation with its REST API, for the end-to-end deployment."""

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from django.db import connection

from gateway.access import keys
from tests.e2e.stack import Stack
from tests.patience import free_port, until


class Site:
    """An installation and the address of its REST API."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.key = keys.create("operator", ["manage"])[1]
        daphne = ["daphne", "-b", "127.0.0.1", "-p", str(self.port), "-v", "0"]
        stack.commands["web"] = [*daphne, "sardeenz.asgi:application"]

    def api(self) -> httpx2.Client:
        """The REST API as an operator with a key uses it."""
        return httpx2.Client(base_url=self.url, headers={"Authorization": f"Bearer {self.key}"}, timeout=30)

    def answers(self) -> bool:
        """Whether the REST API answers."""
        try:
            with self.api() as api:
                return api.get("/api/deployments").status_code == 200
        except httpx2.HTTPError:
            return False


@pytest.fixture
def site(service_environment: dict[str, str], tmp_path: Path) -> Iterator[Site]:
    """Everything running; engines are ended afterwards."""
    stack = Stack(service_environment, tmp_path)
    made = Site(stack)
    try:
        stack.start()
        until(made.answers, "the REST API answers")
        yield made
    finally:
        stack.stop()
        connection.close()
