"""One routable replica as this process sees it: what is in flight, how it fares, and which GPU time that takes."""

from gateway.wire.model_request import ModelRequest
from gateway.wire.upstream import Pool
from models_app.traffic.routes import RouteReplica

EJECT_AFTER = 3
EJECT_SECONDS = 2.0
EJECT_MOST_SECONDS = 60.0


class Health:
    """Passive: what callers' own requests met. A 4xx is the caller's; a 5xx or a broken connection is the engine's."""

    __slots__ = ("_times", "ejected_until", "failures", "probing", "refuses")

    def __init__(self) -> None:
        self.failures = 0
        self.ejected_until = 0.0
        self._times = 0
        self.probing = False
        self.refuses = False
        """Whether its engine accepts no connection, as was seen a moment ago: see `reach`."""

    def usable(self, now: float) -> bool:
        """Whether it may be chosen. An ejected one may once, when its time is over: that request is the probe."""
        if self.refuses:
            return False
        return self.failures < EJECT_AFTER or (now >= self.ejected_until and not self.probing)

    def chosen(self) -> bool:
        """A request goes there; whether it is a probe."""
        self.probing = self.failures >= EJECT_AFTER
        return self.probing

    def answered(self) -> None:
        """An answer began, so it may be chosen; if that breaks off, it counts with the failures before."""
        self.failures = min(self.failures, EJECT_AFTER - 1)
        self.probing = False

    def succeeded(self) -> None:
        """An answer came to its end."""
        self.failures = self._times = 0
        self.probing = False

    def failed(self, now: float) -> None:
        """It did not, or with a 5xx. From the third time in a row on, it is left alone for longer and longer.

        What fails while it is left alone was in flight before: one stumble, however many it met.
        """
        self.failures += 1
        self.probing = False
        if self.failures >= EJECT_AFTER and now >= self.ejected_until:
            self.ejected_until = now + min(EJECT_MOST_SECONDS, EJECT_SECONDS * 2**self._times)
            self._times += 1

    def let_go(self) -> None:
        """The probe ended without telling anything: its client left."""
        self.probing = False


class RoutedReplica:
    """It outlives the tables that name it."""

    __slots__ = (
        "_changed_at",
        "_clock",
        "_gpus",
        "_heads",
        "_key",
        "deployment_id",
        "elsewhere",
        "generation",
        "health",
        "in_flight",
        "marker",
        "pool",
        "rank",
        "replica_id",
        "unnoticed",
    )

    def __init__(self, row: RouteReplica, deployment_id: int, gpus: int, *, idle_seconds: float) -> None:
        self.marker = row.marker
        self.rank = row.marker.encode()
        self.replica_id = row.id
        self.generation = row.generation
        self.deployment_id = deployment_id
        self.in_flight = 0
        self.elsewhere = 0
        self.unnoticed = 0
        """Of those in flight: calls that are no use of the model, as a benchmark's."""
        self.health = Health()
        self.pool = Pool(row.url, idle_seconds=idle_seconds)
        self._key = row.api_key.encode()
        self._heads: dict[bytes, bytes] = {}
        self._gpus = gpus
        self._clock = 0.0
        self._changed_at = 0.0

    def hear(self, elsewhere: int, now: float) -> None:
        """So many calls are in flight there from other gateway processes: the GPUs are shared with them too."""
        if elsewhere != self.elsewhere:
            if self.in_flight:
                self._clock += (now - self._changed_at) / (self.in_flight + self.elsewhere)
            self._changed_at = now
            self.elsewhere = elsewhere

    def enter(self, now: float) -> float:
        """One more in flight; returns the share clock, to be given to `leave`."""
        if self.in_flight:
            self._clock += (now - self._changed_at) / (self.in_flight + self.elsewhere)
        self._changed_at = now
        self.in_flight += 1
        return self._clock

    def leave(self, entered: float, now: float) -> float:
        """One less; returns the GPU-seconds of that call: at each moment all in flight share the GPUs equally."""
        self._clock += (now - self._changed_at) / (self.in_flight + self.elsewhere)
        self._changed_at = now
        self.in_flight -= 1
        return (self._clock - entered) * self._gpus

    def first_lines(self, request: ModelRequest) -> bytes:
        """Request line, host, and the engine's own key: a caller's key never leaves the gateway."""
        if request.path is not None:
            return self._lines(request.method, request.path)
        path = request.endpoint.engine_path  # one of few
        lines = self._heads.get(path)
        if lines is None:
            lines = self._heads[path] = self._lines(b"POST", path)
        return lines

    def _lines(self, method: bytes, path: bytes) -> bytes:
        lines = b"%s %s HTTP/1.1\r\nhost: %s\r\nauthorization: Bearer %s\r\n"
        return lines % (method, path, self.pool.authority, self._key)
