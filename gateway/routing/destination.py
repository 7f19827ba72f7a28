"""Where a call goes: which deployment and which of its replicas is being asked."""

from gateway.routing.replicas import RoutedReplica
from gateway.routing.table import Route


class Destination:
    """It changes with every engine that is asked."""

    __slots__ = ("leased", "marker", "pinned", "replica", "route", "sent")

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

    def begin(self, replica: RoutedReplica) -> None:
        """This replica is about to be asked."""
        self.replica = replica
        self.leased = True
        self.sent = False
