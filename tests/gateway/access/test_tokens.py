"""A token stands for one person's key: for a minute, with that key's rights, and only as it was signed."""

import time

import pytest

from gateway.access import tokens
from gateway.access.rows import load_keys
from gateway.models import ApiKey
from tests import factories
from tests.gateway.conftest import World, known, until
from tests.gateway.engines import Engine


def test_a_token_is_good_as_it_was_signed_and_until_its_end() -> None:
    later = int(time.time()) + 60
    token = tokens.make(7, later)
    assert tokens.key_id(token.encode()) == 7
    assert tokens.key_id(token.replace("page.7.", "page.8.").encode()) is None
    assert tokens.key_id(token.replace(str(later), str(later + 1)).encode()) is None
    assert tokens.key_id(tokens.make(7, int(time.time()) - 1).encode()) is None
    for wrong in (b"", b"sk-srdz-page.", b"sk-srdz-page.7.9", b"sk-srdz-page.\xb2.1.x", token.encode() + b".1"):
        assert tokens.key_id(wrong) is None


@pytest.mark.django_db
def test_a_person_has_one_key_of_their_own_which_may_only_ask_models() -> None:
    person, other = factories.user("ann"), factories.user("bob")
    first, second = tokens.for_person(person), tokens.for_person(person)
    (key,) = ApiKey.objects.all()
    assert (key.owner, key.name, key.scopes) == (person, "Playground of ann", ["inference"])
    assert {tokens.key_id(token.encode()) for token in (first, second)} == {key.pk}
    tokens.for_person(other)
    assert ApiKey.objects.count() == 2
    assert key.digest in {row.digest for row in load_keys()}


async def test_a_token_calls_with_its_key_and_ends_with_it(world: World, run, engine: Engine) -> None:
    world.serve("m", engine)
    world.keys.append(known("nobody-knows-this", 9, allowed_models=["m"]))
    world.key_of_token = tokens.key_id
    gateway = await run()
    gateway.client.headers["authorization"] = f"Bearer {tokens.make(9, int(time.time()) + 60)}"
    assert (await gateway.chat("m")).status_code == 200
    assert (await gateway.chat("other")).json()["error"]["code"] == "model_not_found"
    world.keys.pop()
    await gateway.app.keys.refresh()
    answer = await gateway.chat("m")
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
    await until(lambda: [record.key_id for record in world.usage] == [9])
