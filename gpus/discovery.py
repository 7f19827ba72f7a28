"""Make the rows of this node and its GPUs agree with the devices that answer."""

import logging
from collections.abc import Iterable

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from gpus import devices, processes
from gpus.models import GPU, Node
from gpus.readings import DeviceReading

logger = logging.getLogger(__name__)


def discover(node_name: str | None = None, readings: Iterable[DeviceReading] | None = None) -> Node:
    """Insert or update the node and its GPUs, and mark what did not answer as not present.

    1. What an operator may change (enabled, headroom) is set once, at the first sight of a device.
    2. A row is written, and its `seq` grows, only when a fact of it changed.
    3. A device that moved here from another node becomes ours, with its replicas' history.
    """
    found = list(devices.read_all() if readings is None else readings)
    with transaction.atomic():
        node = _node(node_name or settings.NODE, found)
        uuids = [reading.uuid for reading in found]
        # Locked in uuid order, as placement does, or the two could wait for each other.
        ours = GPU.objects.select_for_update().filter(Q(node=node) | Q(uuid__in=uuids)).order_by("uuid")
        known = {gpu.uuid: gpu for gpu in ours}
        for reading in found:
            _gpu(node, reading, known.get(reading.uuid))
        if lost := [gpu.uuid for gpu in known.values() if gpu.present and gpu.uuid not in uuids]:
            GPU.objects.filter(uuid__in=lost).update(present=False, seq=F("seq") + 1)
            logger.warning("devices went away: node=%s gpus=%s", node.name, ",".join(lost))
    return node


def _node(name: str, found: list[DeviceReading]) -> Node:
    memory_bytes = devices.host_memory().total_bytes
    facts = {
        "address": settings.NODE_ADDRESS,
        "boot_id": processes.boot_id(),
        "simulated": devices.is_simulated(),
        "driver_version": devices.driver_version()[:64],
        "memory_bytes": memory_bytes,
        "sleep_budget_bytes": settings.SLEEP_RAM_BYTES or _sleep_budget(memory_bytes, found),
    }
    node, created = Node.objects.get_or_create(name=name, defaults=facts | {"seen_at": timezone.now()})
    if not created:
        changed = any(getattr(node, field) != value for field, value in facts.items())
        Node.objects.filter(pk=node.pk).update(**facts, seen_at=timezone.now(), seq=F("seq") + int(changed))
        node.refresh_from_db()
    return node


def _sleep_budget(memory_bytes: int, found: list[DeviceReading]) -> int:
    """Half of host RAM; a simulated node pretends to as much as its devices hold, for its weights are pretended too."""
    if found and all(reading.simulated for reading in found):
        return sum(reading.memory_total_bytes for reading in found)
    return memory_bytes // 2


def _gpu(node: Node, reading: DeviceReading, known: GPU | None) -> None:
    facts = {
        "node_id": node.pk,
        "index": reading.index,
        "name": reading.name[:128],
        "memory_bytes": reading.memory_total_bytes,
        "compute_capability": reading.compute_capability,
        "parent_uuid": reading.parent_uuid,
        "simulated": reading.simulated,
        "present": True,
    }
    if known is None:
        # A slice may be smaller than the headroom meant for whole devices.
        headroom_bytes = min(settings.GPU_HEADROOM_BYTES, reading.memory_total_bytes)
        GPU.objects.get_or_create(uuid=reading.uuid, defaults=facts | {"headroom_bytes": headroom_bytes})
    elif any(getattr(known, field) != value for field, value in facts.items()):
        GPU.objects.filter(pk=known.pk).update(**facts, seq=F("seq") + 1)
