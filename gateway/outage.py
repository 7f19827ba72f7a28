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

    def ended(self) -> None:
        """A success ends the outage; only the first success after a failure is logged."""
        if self.lasting:
            logger.info("%s works again", self.what)
        self.lasting = False
