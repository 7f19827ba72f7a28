"""A key for the calls of one person's pages, signed by the web process for a minute. It is stored nowhere.

It stands for a key of that person's own. That one's limits, team and revocation hold for it, and what is called with it
is counted there.
"""

import time

from django.contrib.auth.models import User
from django.utils.crypto import constant_time_compare, salted_hmac

from gateway.access.auth import PREFIX
from gateway.models import ApiKey, Scope

BEGINNING = f"{PREFIX}page."
GOOD_SECONDS = 60
"""A call is checked once, as it begins, however long it takes."""


def for_person(person: User) -> str:
    """A token for one call of this person's."""
    return make(_key_of(person).pk, int(time.time()) + GOOD_SECONDS)


def make(key_id: int, until: int) -> str:
    """A token that stands for a key until this Unix time."""
    return f"{BEGINNING}{key_id}.{until}.{_signature(key_id, until)}"


def key_id(plain: bytes) -> int | None:
    """The key that a token stands for; nothing for what is no token, is forged or is too old."""
    if not plain.startswith(BEGINNING.encode()):
        return None
    words = plain[len(BEGINNING) :].decode("latin-1").split(".")
    if len(words) != 3 or not all(word.isascii() and word.isdigit() and len(word) < 19 for word in words[:2]):
        return None
    number, until = int(words[0]), int(words[1])
    good = constant_time_compare(words[2], _signature(number, until)) and time.time() < until
    return number if good else None


def _key_of(person: User) -> ApiKey:
    """The person's key, made at the first call. Its digest is an HMAC, so there is no text that is this key."""
    digest = salted_hmac("sardeenz.pages.key", str(person.pk), algorithm="sha256").hexdigest()
    made = {"name": f"Playground of {person}"[:100], "prefix": BEGINNING, "scopes": [Scope.INFERENCE], "owner": person}
    return ApiKey.objects.get_or_create(digest=digest, defaults=made)[0]


def _signature(number: int, until: int) -> str:
    return salted_hmac("sardeenz.pages.token", f"{number}.{until}", algorithm="sha256").hexdigest()
