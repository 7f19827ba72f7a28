"""A cordoned GPU takes nothing new, for maintenance say; what runs there runs on. The only writer of these fields."""

from collections.abc import Iterable
from typing import Any, Literal, TypedDict, cast

from django.db import transaction
from django.db.models import F
from django.dispatch import Signal
from django.utils import timezone

from gpus.models import GPU

MAINTENANCE = "maintenance"
"""Why a GPU is cordoned where nobody says why."""

changed = Signal()
"""Sent with `gpu`, `by` and `code` in the transaction that cordons a GPU, opens it, or begins or ends its drain."""


class Cordon(TypedDict):
    """Who cordoned a GPU, when and why, and how it is emptied: an empty `drain` lets everybody stay."""

    at: str | None
    by: str
    message: str
    drain: Literal["", "move", "stop"]


def cordon_row(gpu: GPU) -> Cordon | None:
    """How a cordoned GPU is shown; None for one that takes new replicas."""
    if gpu.enabled:
        return None
    drain = cast("Literal['', 'move', 'stop']", gpu.drain)
    at = gpu.cordoned_at.isoformat() if gpu.cordoned_at else None
    return {"at": at, "by": gpu.cordoned_by, "message": gpu.cordon_message or MAINTENANCE, "drain": drain}


@transaction.atomic
def cordon(gpus: Iterable[GPU], *, by: str, message: str = "", drain: str = "") -> None:
    """Place nothing new there from now on, and with `drain` empty them. Repeating it changes nothing."""
    for gpu in _locked(gpus):
        if not gpu.enabled and drain in ("", gpu.drain):
            continue
        said = {"cordoned_by": by, "cordon_message": message or gpu.cordon_message or MAINTENANCE, "drain": drain}
        _write(gpu, "drain" if drain else "cordon", by, enabled=False, cordoned_at=timezone.now(), **said)


@transaction.atomic
def uncordon(gpus: Iterable[GPU], *, by: str) -> None:
    """Open them to new replicas again; a drain ends, and moves that it began go on."""
    for gpu in _locked(gpus):
        if not gpu.enabled:
            nothing: dict[str, Any] = {"cordoned_at": None, "cordoned_by": "", "cordon_message": "", "drain": ""}
            _write(gpu, "uncordon", by, enabled=True, **nothing)


@transaction.atomic
def end_drain(gpu: GPU, *, by: str) -> None:
    """Nothing is left there: it stays cordoned."""
    for row in _locked([gpu]):
        if row.drain:
            _write(row, "drained", by, drain="")


def _locked(gpus: Iterable[GPU]) -> list[GPU]:
    """Their rows as they are now, in the order in which placement locks them."""
    rows = GPU.objects.select_for_update(of=("self",)).select_related("node").order_by("uuid")
    return list(rows.filter(pk__in=[gpu.pk for gpu in gpus]))


def _write(gpu: GPU, code: str, by: str, **fields: Any) -> None:
    GPU.objects.filter(pk=gpu.pk).update(**fields, seq=F("seq") + 1)
    gpu.refresh_from_db()
    changed.send(GPU, gpu=gpu, by=by, code=code)
