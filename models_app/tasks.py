"""Celery's way in. Nobody imports this: `queues.poke` sends by name."""

from contextlib import suppress
from datetime import timedelta
from functools import cache

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from gpus import samples
from gpus.errors import TelemetryUnavailable
from gpus.models import GPU
from models_app import decisions, snapshot
from models_app.lifecycle import queues, scale
from models_app.lifecycle.reconcile import Reconciler
from models_app.lifecycle.setbacks import Setbacks
from models_app.memory import profiles
from models_app.models import Deployment, Plan, Transition
from models_app.node import frame, history
from models_app.policy import consent, cordon, host_memory, idle, rehearsal
from models_app.policy.windows.apply import Applier
from models_app.traffic import waiting
from sardeenz import heartbeats

_setbacks = Setbacks()
_shown = snapshot.Shown()
_applier = Applier()


@cache
def _reconciler(uuid: str) -> Reconciler:
    return Reconciler(uuid)


@shared_task(name=queues.RECONCILE)
def reconcile_gpu(uuid: str) -> None:
    """Look at every replica whose lead GPU this is, and move each one step."""
    queues.received(uuid)
    _reconciler(uuid).run()


@shared_task(name="models_app.tick")
def tick() -> None:
    """Poke every GPU, so that a lost message costs two seconds; see to numbers, idle times and what pages show."""
    heartbeats.say(heartbeats.TICKS)
    for uuid in GPU.objects.filter(present=True).values_list("uuid", flat=True):
        queues.poke(uuid)
    if Deployment.objects.exists():
        scale.bring_about(_setbacks)
        consent.settle()
        idle.step_down()
        host_memory.relieve()
        rehearsal.begin()
        profiles.keep()
    cordon.settle()
    waiting.publish()
    _shown.tell()


@shared_task(name=queues.POLICIES)
def apply_policies() -> None:
    """Bring about what windows and overrides say now."""
    _applier.run(timezone.now())


@shared_task(name=queues.SCALE)
def bring_about() -> None:
    """Somebody changed a deployment's number of replicas."""
    scale.bring_about(_setbacks)


@shared_task(name="models_app.keep_samples")
def keep_samples() -> None:
    """Keep what every node reads now; nodes that do not read leave a gap."""
    now = timezone.now()
    with suppress(TelemetryUnavailable):
        samples.keep(history.values(frame.latest()), now)
    samples.roll_up(now)


@shared_task(name="models_app.prune_history")
def prune_history() -> None:
    """Forget transitions, plans and decisions older than SARDEENZ_HISTORY_DAYS, and samples kept long enough."""
    samples.forget_old(timezone.now())
    since = timezone.now() - timedelta(days=settings.HISTORY_DAYS)
    Transition.objects.filter(at__lt=since).delete()
    Plan.objects.filter(made_at__lt=since).delete()
    decisions.forget_old()
