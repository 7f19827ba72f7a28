"""Whether calls are traced, and what the path of a request knows of traces. Imports nothing of OpenTelemetry.

Traces are an extra: `gateway.otel.spans` makes them, and is imported only where an endpoint for them is set.
"""

import importlib
import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from gateway.outage import Outage
from gateway.routing.replicas import RoutedReplica
from gateway.routing.table import Route
from gateway.wire.http import Request
from sardeenz import otel

if TYPE_CHECKING:  # a call carries its trace, and so imports us
    from gateway.call import Call

logger = logging.getLogger(__name__)


class Trace(Protocol):
    """The spans of one call. Times are those of `time.monotonic`."""

    def begin(self, call: "Call") -> None:
        """The call is about to be answered."""

    def waited(self, name: str, began: float) -> None:
        """A wait that began then has ended, by the exception that is being handled if there is one."""

    def attempt(self, route: Route, replica: RoutedReplica) -> "Attempt":
        """An engine is about to be asked."""

    def end(self, call: "Call") -> None:
        """The last byte has left, or none will."""


class Attempt(Protocol):
    """The span of one request to one engine."""

    ids: bytes
    """Header lines that tell the engine where in the trace it is."""

    def end(self, status: int) -> None:
        """It has ended with this status or without any (0), by the exception that is being handled if there is one."""


class Tracing(Protocol):
    """Makes traces, and sends them away."""

    outage: Outage

    def trace(self, request: Request) -> Trace:
        """Of a new call. Takes the caller's trace headers out of the request: the engine gets ours, made from them."""

    async def end(self) -> None:
        """Send what is left, for a few seconds at most."""


OpenTracing = Callable[[str], Tracing | None]
"""Given the id of the gateway process."""


def off(_: str) -> None:
    """This OpenTracing, the server's default, returns None, so that no call is traced."""


def from_environment(gateway_id: str) -> Tracing | None:
    """Tracing as the `OTEL_*` variables want it. What is in its way is logged, and the gateway goes on without."""
    if otel.wanted(os.environ) is None:
        return None
    why = otel.obstacle(os.environ)
    if why is not None:
        logger.warning("calls are not traced: %s", why)
        return None
    try:
        tracing: Tracing = importlib.import_module("gateway.otel.spans").open_tracing(gateway_id)
    except (ImportError, ValueError, OSError) as error:
        logger.warning("calls are not traced: error=%r", error)
        return None
    logger.info("calls are traced")
    return tracing
