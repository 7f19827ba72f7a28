"""KV caps that a drill sets for a while, and gives back however it ends: its row remembers them before they change."""

from collections.abc import Mapping

from django.db import transaction
from django.db.models import F

from gateway.models import BenchmarkRun
from models_app import snapshot
from models_app.api import edits
from models_app.lifecycle import queues
from models_app.models import Deployment

BEFORE = "caps_before"


def remember(number: int, names: list[str]) -> None:
    """Write down which caps the deployments have now."""
    rows = Deployment.objects.filter(name__in=names)
    with transaction.atomic():
        run = BenchmarkRun.objects.select_for_update().get(pk=number)
        run.options = run.options | {BEFORE: dict(rows.values_list("name", "kv_cap_bytes"))}
        run.save(update_fields=["options"])


def set_all(caps: Mapping[str, int | None], actor: str) -> None:
    """Each deployment's own cap; the governor of its node makes it so within a second or two."""
    with transaction.atomic():
        for deployment in Deployment.objects.select_for_update(of=("self",)).filter(name__in=caps):
            before = edits.values(deployment)
            deployment.kv_cap_bytes = caps[deployment.name]
            deployment.seq = F("seq") + 1
            deployment.save(update_fields=["kv_cap_bytes", "seq"])
            deployment.refresh_from_db()
            edits.record(deployment, before, actor=actor)
            snapshot.publish_deployment(deployment.pk, deployment.seq)
        transaction.on_commit(queues.poke_control)


def give_back(run: BenchmarkRun) -> None:
    """The caps from before, where a drill has changed them."""
    if caps := run.options.get(BEFORE):
        set_all(caps, actor=f"benchmark {run.pk}")
        BenchmarkRun.objects.filter(pk=run.pk).update(options=run.options | {BEFORE: {}})
