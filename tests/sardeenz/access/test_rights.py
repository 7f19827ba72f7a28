"""Nothing under /api answers a stranger, and an inference key is a stranger here."""

from collections.abc import Iterator

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from tests import factories

pytestmark = pytest.mark.django_db
METHODS = ("get", "post", "put", "patch", "delete")
PUBLIC = {"api/login", "api/logout"}


def patterns(resolver: URLResolver, before: str = "") -> Iterator[tuple[str, URLPattern]]:
    for entry in resolver.url_patterns:
        here = before + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from patterns(entry, here)
        else:
            yield here, entry


def addresses() -> list[str]:
    """Every address of the API, with 1 for each number in it."""
    found = [path for path, _ in patterns(get_resolver()) if path.startswith("api/")]
    filled = {path.replace("^", "").replace("$", "").replace("\\Z", "") for path in found}
    return sorted({"".join(_fill(path)) for path in filled} - PUBLIC)


def _fill(path: str) -> Iterator[str]:
    depth, group = 0, ""
    for character in path:
        if character in "(<":
            depth += 1
        if depth == 0 and character != "?":
            yield character
        group = group + character if depth else ""
        if character in ")>":
            depth -= 1
            if depth == 0:
                yield "1:1" if "}:" in group else "1"  # a marker of an engine is two numbers


ADDRESSES = addresses()


def test_the_list_of_addresses_is_whole() -> None:
    assert {"api/replicas/1/move", "api/deployments/1", "api/orphans/1:1/end", "api/snapshot"} <= set(ADDRESSES)


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_stranger_is_turned_away(client: Client, address: str) -> None:
    answers = {method: getattr(client, method)(f"/{address}").status_code for method in METHODS}
    assert set(answers.values()) <= {401, 403}, answers


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_inference_key_is_turned_away(client: Client, address: str) -> None:
    bearer = {"Authorization": f"Bearer {factories.api_key('inference')[1]}"}
    answers = {method: getattr(client, method)(f"/{address}", headers=bearer).status_code for method in METHODS}
    assert set(answers.values()) <= {401, 403}, answers


def test_a_read_key_looks_and_a_manage_key_acts(client: Client) -> None:
    replica = factories.replica()
    address = f"/api/replicas/{replica.pk}"
    reader, manager = ({"Authorization": f"Bearer {factories.api_key(scope)[1]}"} for scope in ("read", "manage"))
    assert client.get(address, headers=reader).status_code == 200
    assert client.post(f"{address}/sleep", {}, "application/json", headers=reader).status_code == 403
    assert client.post(f"{address}/sleep", {}, "application/json", headers=manager).status_code == 202
    assert replica.transitions.get().actor.startswith("key:sk-srdz-")
