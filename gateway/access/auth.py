"""Who is calling: a digest looked up in memory. The table of keys is read again every second, never on the path.

Only a good key is believed at once. Before a caller is told no, the table is read once more, as it may be older than
the key or its rights: all who wait for that share one reading, and there are four a second at most, whoever asks.
"""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple

from gateway.errors import InvalidApiKey, KeysUnavailable, MissingScope
from gateway.limits.limiter import KnownTeam, Quota
from gateway.outage import Outage

PREFIX = "sk-srdz-"
SHOWN_CHARACTERS = len(PREFIX) + 6
REFRESH_SECONDS = 1.0
ASK_AGAIN_SECONDS = 0.25
"""From one reading to the next that a refusal may cause."""


class KnownKey(NamedTuple):
    """What the path needs of a key."""

    digest: str
    id: int
    inference: bool
    expires_at: float | None
    allowed_models: frozenset[str] = frozenset()
    """Names it may ask for; empty: every one."""
    quota: Quota = Quota()
    team: KnownTeam | None = None
    metered: bool = True
    """Whether its calls are kept as usage and captured; else they are in nobody's figures."""
    keeps_awake: bool = True
    """Whether its calls count as use of a model, which else may go to sleep beside them once they have ended."""

    def may_ask_for(self, name: str) -> bool:
        """Whether this key may use the model or alias of this name."""
        return not self.allowed_models or name in self.allowed_models


class Keys:
    """The keys of this installation, as last read."""

    def __init__(
        self,
        load_keys: Callable[[], Awaitable[Iterable[KnownKey]]],
        key_of_token: Callable[[bytes], int | None] = lambda _: None,
    ) -> None:
        self._load_keys = load_keys
        self._key_of_token = key_of_token
        self._known: dict[str, KnownKey] = {}
        self._seen: dict[bytes, KnownKey] = {}
        self._read_began = 0.0  # of the last reading that has ended
        self._lock = asyncio.Lock()
        self.outage = Outage("reading the API keys")
        self.loaded = False

    def known(self, headers: dict[bytes, bytes]) -> KnownKey | None:
        """The caller's key where there is nothing to object to; `check` has the words for all else."""
        value = headers.get(b"authorization")
        if value is None:
            return None
        key = self._seen.get(value)
        if key is None:
            key = self._known.get(hashlib.sha256(value[7:]).hexdigest())
            if key is None or not key.inference or value[:7] != b"Bearer ":
                return None
            self._seen[value] = key  # spares the next calls within a second the hash
        return key if key.expires_at is None or key.expires_at > time.time() else None

    async def check(self, headers: dict[bytes, bytes]) -> KnownKey:
        """The caller's key. Raises InvalidApiKey, MissingScope, or KeysUnavailable while a new key cannot be judged."""
        plain = _presented(headers)
        if plain is None:
            raise InvalidApiKey("an API key is needed: send `Authorization: Bearer <key>`")
        find = self._finder(plain)
        key = find()
        if key is None or _expired(key):
            await self._look()
            key = find() or key
        if key is None and (self.outage.lasting or not self.loaded):
            raise KeysUnavailable("API keys cannot be checked right now", retry_after_seconds=1.0)
        if key is None:
            raise InvalidApiKey("this API key is unknown or revoked")
        if _expired(key):
            raise InvalidApiKey("this API key has expired")
        if not key.inference:
            raise MissingScope("this API key has no inference scope")
        return key

    def _finder(self, plain: bytes) -> Callable[[], KnownKey | None]:
        """How the key is found: by its digest, or by its id where a signed token stands for it."""
        key_id = self._key_of_token(plain)
        if key_id is None:
            digest = hashlib.sha256(plain).hexdigest()
            return lambda: self._known.get(digest)
        return lambda: next((key for key in self._known.values() if key.id == key_id), None)

    async def newest(self, key: KnownKey) -> KnownKey:
        """The key as a table says that was read after this was asked: its rights may have just been changed."""
        await self._look()
        return self._known.get(key.digest, key)

    async def _look(self) -> None:
        """Wait for a reading that begins after now; one that fails counts, too."""
        asked_at = time.monotonic()
        await asyncio.sleep(max(0.0, self._read_began + ASK_AGAIN_SECONDS - asked_at))
        async with self._lock:
            if self._read_began < asked_at:
                await self._read()

    async def refresh(self) -> None:
        """Read the keys; on a fault the known ones stay good."""
        async with self._lock:
            await self._read()

    async def _read(self) -> None:
        began = time.monotonic()
        with self.outage.watch():
            self._known = {key.digest: key for key in await self._load_keys()}
            self._seen = {}
            self.loaded = True
        self._read_began = began

    async def keep_current(self) -> None:
        """Once a second: revoked keys end, new ones begin."""
        while True:
            await self.refresh()
            await asyncio.sleep(REFRESH_SECONDS)


def _expired(key: KnownKey) -> bool:
    return key.expires_at is not None and key.expires_at <= time.time()


def shown(headers: dict[bytes, bytes]) -> str:
    """How the key that was sent begins, as far as people may see it; of what is no key of ours, nothing."""
    plain = _presented(headers)
    if plain is None or not plain.startswith(PREFIX.encode()):
        return ""
    return plain[:SHOWN_CHARACTERS].decode("ascii", "replace")


def _presented(headers: dict[bytes, bytes]) -> bytes | None:
    """The key from `Authorization: Bearer`, or from `x-api-key` as Anthropic's clients send it."""
    value = headers.get(b"authorization")
    if value is not None and value[:7].lower() == b"bearer ":
        return value[7:].strip() or None
    return headers.get(b"x-api-key") or None
