"""Where a replica can be, and where it may go from there. Imports nothing of ours.

pending -> starting -> ready -> draining -> sleeping -> waking -> ready
any live state -> stopping -> stopped, or stopped at once where its engine ended with the node;
anything -> failed -> pending (restart) | stopping (give up, or sleep on without an engine)
"""

from django.db.models import TextChoices


class State(TextChoices):
    """Where a replica stands, as last claimed by its GPU's worker."""

    PENDING = "pending"
    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    SLEEPING = "sleeping"
    WAKING = "waking"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


class Goal(TextChoices):
    """Where a replica is headed."""

    READY = "ready"
    SLEEPING = "sleeping"
    STOPPED = "stopped"


ALLOWED: dict[State, frozenset[State]] = {
    State.PENDING: frozenset({State.STARTING, State.STOPPING, State.FAILED}),
    State.STARTING: frozenset({State.READY, State.STOPPING, State.STOPPED, State.FAILED}),
    State.READY: frozenset({State.DRAINING, State.STOPPING, State.STOPPED, State.FAILED}),
    State.DRAINING: frozenset({State.READY, State.SLEEPING, State.STOPPING, State.STOPPED, State.FAILED}),
    State.SLEEPING: frozenset({State.WAKING, State.STOPPING, State.STOPPED, State.FAILED}),
    State.WAKING: frozenset({State.READY, State.SLEEPING, State.STOPPING, State.STOPPED, State.FAILED}),
    State.STOPPING: frozenset({State.STOPPED}),
    State.STOPPED: frozenset({State.PENDING}),
    State.FAILED: frozenset({State.PENDING, State.STOPPING}),
}

TRANSIENT = frozenset({State.PENDING, State.STARTING, State.DRAINING, State.WAKING, State.STOPPING})
"""States that must be left before `deadline_at`."""

LIVE = frozenset({State.STARTING, State.READY, State.DRAINING, State.SLEEPING, State.WAKING})
"""States that claim an engine process."""

AWAKE = frozenset(set(State) - {State.SLEEPING, State.STOPPED})
"""States whose full memory is held: a failed engine holds it until its process is seen to be gone."""

SETTLED = frozenset({State.READY, State.SLEEPING, State.STOPPED, State.FAILED})
