"""A caller's request id comes back where it is harmless; anything else is replaced."""

import re

import pytest
from django.test import Client

from sardeenz import request_ids


@pytest.mark.parametrize("given", ["a", "req-1_2.3", "x" * 128])
def test_a_harmless_id_comes_back(client: Client, given: str) -> None:
    assert client.get("/health", headers={"X-Request-Id": given})["X-Request-Id"] == given


@pytest.mark.parametrize("given", ["", "a b", "é", "x" * 129, "a;b", "a\n"])
def test_anything_else_is_replaced(client: Client, given: str) -> None:
    assert request_ids.ACCEPTED(given.encode()) is None
    made = client.get("/health", headers={"X-Request-Id": given})["X-Request-Id"]
    assert re.fullmatch("[0-9a-f]{32}", made)
