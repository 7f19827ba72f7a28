"""The route table as rows give it: read by every gateway, once a second and whenever something changed."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from django.utils import timezone

from gpus.installation import engine_key
from models_app.models import Deployment, EngineRuntime, Replica
from models_app.spec import wake_seconds
from models_app.states import Goal, State
from models_app.traffic.capabilities import capabilities

RouteState = Literal["ready", "sleeping", "starting", "failed", "stopped"]


@dataclass(frozen=True, slots=True)
class RouteReplica:
    """A replica that may be handed new requests."""

    id: int
    generation: int
    url: str
    api_key: str

    @property
    def marker(self) -> str:
        """`<id>:<generation>`, its name in leases and reports."""
        return f"{self.id}:{self.generation}"


@dataclass(frozen=True, slots=True)
class Route:
    """A deployment under its served name; no replica in `replicas` means: hold (or refuse, see `state`)."""

    deployment_id: int
    deployment_name: str
    served_name: str
    state: RouteState
    replicas: tuple[RouteReplica, ...]
    reason: str
    message: str
    eta_seconds: float | None
    max_model_len: int | None
    created: int
    max_concurrency: int | None = None
    queue_limit: int = 1000
    queue_seconds: float | None = None
    prefix_affinity: bool = False
    capture_until: float | None = None
    schedules_by_priority: bool = False
    """Whether its engines take a request's `priority`; others refuse one that is not 0."""
    gpus: int = 1
    """GPUs one replica computes on."""
    capabilities: tuple[str, ...] = ()
    simulated: bool = False
    """Whether its engines only pretend to be a model."""


def load_routes() -> list[Route]:
    """Every deployment, in two queries."""
    placed: dict[int, list[Replica]] = defaultdict(list)
    for replica in Replica.objects.order_by("pk"):
        placed[replica.deployment_id].append(replica)
    deployments = Deployment.objects.filter(deleting=False).select_related("model", "runtime")
    return [_route(deployment, placed[deployment.pk]) for deployment in deployments]


def _route(deployment: Deployment, replicas: list[Replica]) -> Route:
    ready = [row for row in replicas if row.state == State.READY and _stays(row)]
    state = "ready" if ready else _state(replicas, wanted=deployment.goal == Goal.READY)
    told: list[Replica | Deployment] = [*replicas, deployment]
    in_force = deployment.in_force
    telling = next((row for row in told if row.message), None)
    return Route(
        deployment_id=deployment.pk,
        deployment_name=deployment.name,
        served_name=deployment.served_name,
        state=state,
        replicas=tuple(
            RouteReplica(row.pk, row.generation, row.url, engine_key(row.pk, row.generation)) for row in ready
        ),
        reason=telling.reason if telling else "",
        message=telling.message if telling else "",
        eta_seconds=_eta(state, replicas),
        max_model_len=deployment.max_model_len,
        created=int(deployment.created_at.timestamp()),
        max_concurrency=in_force.max_concurrency,
        queue_limit=in_force.queue_limit,
        queue_seconds=in_force.queue_seconds,
        prefix_affinity=deployment.prefix_affinity,
        capture_until=deployment.capture_until.timestamp() if deployment.capture_until else None,
        schedules_by_priority=bool(ready) and all(_by_priority(row) for row in ready),
        gpus=deployment.tensor_parallel,
        capabilities=capabilities(deployment),
        simulated=deployment.runtime.kind == EngineRuntime.Kind.SIMULATOR,
    )


def _by_priority(row: Replica) -> bool:
    """As it was launched, whatever the deployment says now."""
    given = " ".join(row.spec.get("extra_args", ()))
    return "--scheduling-policy priority" in given or "--scheduling-policy=priority" in given


def _stays(row: Replica) -> bool:
    """A move's target serves as soon as it is ready, even if it is to sleep later."""
    return row.goal == Goal.READY or row.replaces_id is not None


def _state(replicas: list[Replica], *, wanted: bool = False) -> RouteState:
    sources = {row.pk for row in replicas if not row.disposable}
    if not sources and wanted:
        return "starting"  # none is placed yet; whoever asks is told why
    own = [row for row in replicas if row.replaces_id not in sources]
    headed = [row for row in own if row.goal != Goal.STOPPED or row.restarting]
    if any((row.goal == Goal.READY and row.state != State.FAILED) or row.restarting for row in headed):
        return "starting"
    if any(row.goal == Goal.SLEEPING for row in headed):
        return "sleeping"
    if any(row.restart_at is not None for row in headed):
        return "starting"
    return "failed" if headed else "stopped"


def _eta(state: RouteState, replicas: list[Replica]) -> float | None:
    """Seconds a waiter may expect, from this deployment's own last wake or load; None when it never did one."""
    if state not in ("sleeping", "starting"):
        return None
    now = timezone.now()
    due = [row.expected_at for row in replicas if row.expected_at and row.expected_at > now]
    if due:  # others make room for it first
        return (min(due) - now).total_seconds()
    wakes = state == "sleeping" or any(row.state in (State.WAKING, State.SLEEPING) for row in replicas)
    took = [(row, _took(row, wakes=wakes)) for row in replicas]
    known = [_left(row, seconds, now) for row, seconds in took if seconds]
    left = max(known, default=0.0)
    return left if left > 0 else None  # what takes longer than ever before is not expected at any time


def _took(row: Replica, *, wakes: bool) -> float | None:
    return wake_seconds(row.profile, row.sleep_level) if wakes else row.profile.get("load_seconds")


def _left(row: Replica, seconds: float, now: datetime) -> float:
    """Of what its last wake or load took, counted from when this one began."""
    return seconds - (now - row.state_at).total_seconds() if row.state in (State.WAKING, State.STARTING) else seconds


def eta_seconds(replicas: list[Replica]) -> float | None:
    """Seconds until one of a deployment's replicas is likely to be ready; None where that is not known."""
    return _eta(_state(replicas), replicas)
