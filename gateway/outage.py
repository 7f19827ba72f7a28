"""Postgres or Redis being away is weather: said once when it comes and once when it goes, and lived through."""

import logging

from django.db import Error as DatabaseError
from redis import RedisError

FAULTS = (DatabaseError, RedisError, OSError)
"""What a database or broker that is away raises; anything else is a bug."""

logger = logging.getLogger(__name__)


class Outage:
    """Whether one thing the gateway needs is away."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.lasting = False
        self.times = 0

    def began(self, error: BaseException) -> None:
        """Note a failure; only the first of a row is logged."""
        self.times += 1
        if not self.lasting:
            logger.warning("%s failed, going on with what is known: error=%r", self.what, error)
        self.lasting = True

    def watch(self) -> "Watch":
        """For a `with` around one attempt: a fault is noted and goes no further, anything else passes."""
        return Watch(self)

    def ended(self) -> None:
        """A success ends the outage; only the first success after a failure is logged."""
        if self.lasting:
            logger.info("%s works again", self.what)
        self.lasting = False


class Watch:
    """One attempt; `failed` says afterwards whether it met a fault."""

    __slots__ = ("_outage", "failed")

    def __init__(self, outage: Outage) -> None:
        self._outage = outage
        self.failed = False

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, kind: object, error: BaseException | None, where: object) -> bool:
        self.failed = isinstance(error, FAULTS)
        if error is None:
            self._outage.ended()
        elif self.failed:
            self._outage.began(error)
        return self.failed
