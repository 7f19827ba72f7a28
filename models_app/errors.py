"""What can go wrong between an operator's wish and a running engine. The tree's roots are in `sardeenz.errors`."""

from sardeenz.errors import Conflict, EngineError, Refused, Unavailable


class IllegalTransition(Conflict):
    """The replica's state does not allow this verb; fields: state, wanted."""

    code = "illegal_transition"


class ReplicaMoved(Conflict):
    """Somebody else changed the replica first; look again and decide anew."""

    code = "replica_moved"


class NotAdoptable(Conflict):
    """No deployment can take this engine over as a replica of its own; field: marker."""

    code = "not_adoptable"


class MoveInProgress(Conflict):
    """The replica is one side of an unfinished move."""

    code = "move_in_progress"


class SleepDisabled(Conflict):
    """The deployment was started without sleep mode."""

    code = "sleep_disabled"


class KnownProblem(Refused):
    """What was asked is known to break the engine; fields: field, problem (its code), source."""

    code = "known_problem"
    status = 422


class DeploymentLive(Conflict):
    """The deployment still has engines."""

    code = "deployment_live"


class DeploymentDeleting(Conflict):
    """The deployment is being deleted, or is gone; field: deployment."""

    code = "deployment_deleting"


class ReplicaLeaving(Conflict):
    """The replica goes once its engine has ended, and does not come back; field: replica."""

    code = "replica_leaving"


class NeverFits(Conflict):
    """More than could ever be reserved on a GPU; fields: needed_bytes, free_bytes (of the largest when empty), gpu."""

    code = "never_fits"


class PlanOutdated(Conflict):
    """What the plan would do is something else by now; field: moved, what is not as it was, in words."""

    code = "plan_outdated"


class PlanExpired(Conflict):
    """The plan was made too long ago to be applied."""

    code = "plan_expired"


class PlanApplied(Conflict):
    """The plan was applied already; fields: by, at."""

    code = "plan_applied"


class InUse(Conflict):
    """Deployments still point at it."""

    code = "in_use"


class NoCapacity(Unavailable):
    """No GPU has room; fields: needed_bytes, free_bytes, gpu."""

    code = "no_capacity"


class GPUCordoned(NoCapacity):
    """The GPU is cordoned and takes nothing new; fields: gpu, node, by."""

    code = "gpu_cordoned"


class MemoryHeld(NoCapacity):
    """The rows have room, the GPU has not yet: neighbours hold it. Fields: needed_bytes, short, excess."""

    code = "waits_for_memory"


class HostMemoryShort(Unavailable):
    """Host RAM does not allow another level-1 sleeper; fields: needed_bytes, free_bytes, node."""

    code = "host_memory_short"


class FleetBusy(Unavailable):
    """Somebody changes rows right now that the answer depends on."""

    code = "fleet_busy"


class DeploymentStopped(Unavailable):
    """Every replica is stopped; only an operator starts it again."""

    code = "model_stopped"


class CrashLoop(Unavailable):
    """The engine failed too often or for a reason a restart does not mend; field: reason."""

    code = "crash_loop"


class NoPort(Unavailable):
    """Every engine port of the node is taken."""

    code = "no_port"


class EngineUnreachable(EngineError):
    """The engine's port does not answer."""

    code = "engine_unreachable"


class ConnectionRefused(EngineUnreachable):
    """Nothing listens on the engine's port."""

    code = "connection_refused"


class EngineTimeout(EngineError):
    """The engine did not answer in time; it may still be working."""

    code = "engine_timeout"
    status = 504


class EngineRefused(EngineError):
    """The engine answered with an error status; field: status."""

    code = "engine_refused"


class EngineProtocolError(EngineError):
    """The engine's answer was not understood."""

    code = "engine_protocol_error"


class WindowsOverlap(Conflict):
    """Two windows of the same precedence say different things at the same time; fields: window, deployment."""

    code = "windows_overlap"
