"""Steps that broke: each is put off longer from time to time, and told of more and more rarely."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from django.db import InterfaceError, OperationalError

from models_app.errors import ReplicaMoved
from sardeenz.errors import SardeenzError

FIRST_SECONDS = 0.5
LONGEST_SECONDS = 60.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Setback:
    """How often in a row a step broke on its way to `aim`, and the monotonic time until which it is put off."""

    aim: str
    count: int
    until: float
    error: Exception


@dataclass(slots=True)
class Setbacks:
    """The broken steps that one worker remembers, by whose step it was. None of them stops another."""

    known: dict[str, Setback] = field(default_factory=dict)
    clock: Callable[[], float] = time.monotonic

    def waits(self, whose: str, aim: str = "") -> bool:
        """Whether the step is put off still. A new aim, such as an operator's other wish, is tried at once."""
        setback = self.known.get(whose)
        return setback is not None and setback.aim == aim and self.clock() < setback.until

    def attempt(self, whose: str, step: Callable[[], bool], aim: str = "") -> bool:
        """Take the step; whether anything moved. What it raises is remembered and logged, never raised."""
        try:
            moved = step()
        except ReplicaMoved:
            return True  # somebody was faster; look again
        except Exception as error:
            self._add(whose, aim, error)
            return False
        self.known.pop(whose, None)
        return moved

    def _add(self, whose: str, aim: str, error: Exception) -> None:
        setback = self.known.get(whose)
        count = setback.count + 1 if setback is not None and setback.aim == aim else 1
        # A database that was away says nothing about this step: it is not to wait long once the database is back.
        grown = 1 if isinstance(error, OperationalError | InterfaceError) else count
        pause = min(FIRST_SECONDS * 2 ** min(grown - 1, 30), LONGEST_SECONDS)
        self.known[whose] = Setback(aim, count, self.clock() + pause, error)
        _tell(whose, count, pause, error)


def _tell(whose: str, count: int, pause: float, error: Exception) -> None:
    """Once with its traceback, then a line at every doubling of the count."""
    if count & (count - 1):
        return
    code = error.code if isinstance(error, SardeenzError) else type(error).__name__
    expected = isinstance(error, SardeenzError)
    logger.log(
        logging.WARNING if expected else logging.ERROR,
        "step broke: %s code=%s times=%s again_in_seconds=%s error=%s",
        whose,
        code,
        count,
        pause,
        error,
        exc_info=None if expected or count > 1 else error,
    )
