"""Names and keys follow from SECRET_KEY and are never stored."""

import re

from django.conf import LazySettings

from gpus.installation import engine_key, installation_id


def test_an_installation_is_twelve_hex_digits_of_its_secret(settings: LazySettings) -> None:
    settings.SECRET_KEY = "one"
    first = installation_id()
    assert re.fullmatch(r"[0-9a-f]{12}", first)
    assert installation_id() == first
    settings.SECRET_KEY = "two"
    assert installation_id() != first


def test_every_start_of_a_replica_has_its_own_key(settings: LazySettings) -> None:
    settings.SECRET_KEY = "one"
    keys = {engine_key(1, 1), engine_key(1, 2), engine_key(2, 1), engine_key(11, 1), engine_key(1, 11)}
    assert len(keys) == 5
    assert engine_key(1, 1) in keys
    settings.SECRET_KEY = "two"
    assert engine_key(1, 1) not in keys
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", key) for key in keys)
