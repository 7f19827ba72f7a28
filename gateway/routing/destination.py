"""Where a call goes: which deployment and which of its replicas is being asked."""

from gateway.routing.replicas import RoutedReplica
from gateway.routing.table import Route


class Destination:
    """It changes with every engine that is asked."""

    __slots__ = ("asked_at", "beside", "leased", "marker", "pinned", "replica", "route", "sent")

    def __init__(self, marker: str | None, pinned: bool) -> None:
        self.marker = marker
        """The replica that made the stored response it goes on from."""
        self.pinned = pinned
        """Whether no other replica could answer."""
        self.route: Route | None = None
        self.replica: RoutedReplica | None = None
        self.leased = False
        self.sent = False
        """Whether the engine that was asked last has the request."""
        self.asked_at = 0.0
        """When a seat was taken for the request that was asked last; monotonic."""
        self.beside: int | None = None
        """Other calls in flight at the replica that was asked last, when it was asked."""

    def begin(self, replica: RoutedReplica) -> None:
        """This replica, at which the call has a seat, is about to be asked."""
        self.replica = replica
        self.beside = replica.in_flight + replica.elsewhere - 1
        self.leased = True
        self.sent = False
