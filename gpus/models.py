"""The machine as rows: nodes and their GPUs. What they are doing now is telemetry, not a row."""

from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.db import models

from sardeenz import sizes
from sardeenz.celery import gpu_queue


class Node(models.Model):
    """A host with GPUs. `boot_id` tells a restart of the host from a restart of our programs."""

    name = models.CharField(max_length=253, unique=True)
    address = models.CharField(max_length=253, default="127.0.0.1", help_text="where gateways reach its engines")
    boot_id = models.CharField(max_length=64, blank=True)
    simulated = models.BooleanField(default=False)
    driver_version = models.CharField(max_length=64, blank=True, help_text="of the GPUs' driver")
    memory_bytes = models.BigIntegerField(default=0, help_text="host RAM")
    sleep_budget_bytes = models.BigIntegerField(default=0, help_text="host RAM that level-1 sleepers may hold")
    seen_at = models.DateTimeField(null=True)
    seq = models.BigIntegerField(default=1)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class Drain(models.TextChoices):
    """How a cordoned GPU is emptied; what has no place elsewhere stays, unless it was said that it may stop."""

    MOVE = "move", "replicas move away"
    STOP = "stop", "replicas move away, and stop where no other GPU takes them"


class GPU(models.Model):
    """A device, or a MIG slice, addressed by UUID; an index may change with every boot."""

    uuid = models.CharField(max_length=96, unique=True)
    node = models.ForeignKey(Node, on_delete=models.PROTECT, related_name="gpus")
    index = models.PositiveIntegerField()
    name = models.CharField(max_length=128)
    memory_bytes = models.BigIntegerField()
    headroom_bytes = models.BigIntegerField(help_text="never promised to anybody")
    compute_capability = models.CharField(max_length=8, blank=True)
    parent_uuid = models.CharField(max_length=96, blank=True, help_text="the device a MIG slice belongs to")
    simulated = models.BooleanField(default=False)
    enabled = models.BooleanField(default=True, help_text="off: it is cordoned, and nothing new is placed here")
    cordoned_at = models.DateTimeField(null=True, blank=True, editable=False)
    cordoned_by = models.CharField(max_length=200, blank=True, editable=False)
    cordon_message = models.CharField(max_length=200, blank=True, editable=False, help_text="why, in words")
    drain = models.CharField(
        max_length=8, choices=Drain.choices, blank=True, editable=False, help_text="what becomes of those who are here"
    )
    present = models.BooleanField(default=True, help_text="seen by the last discovery")
    seq = models.BigIntegerField(default=1)

    class Meta:
        ordering = ("node", "index", "uuid")
        verbose_name = "GPU"

    def __str__(self) -> str:
        return f"{self.node} GPU {self.index} ({self.uuid})"

    def clean(self) -> None:
        """The headroom is a part of the device."""
        if not 0 <= self.headroom_bytes <= self.memory_bytes:
            raise ValidationError(
                {"headroom_bytes": f"must be between 0 and the GPU's {sizes.shown(self.memory_bytes)}"}
            )

    @property
    def queue(self) -> str:
        """The Celery queue that only this GPU's worker reads."""
        return gpu_queue(self.uuid)


class Sample(models.Model):
    """What was read of one subject at one instant, or the mean of the minute that begins there."""

    subject = models.CharField(max_length=128, help_text="such as gpu:UUID, replica:ID or node:NAME")
    step_seconds = models.PositiveSmallIntegerField()
    at = models.DateTimeField()
    values = ArrayField(models.FloatField(null=True), help_text="in the order of the subject's fields; unknown is null")

    class Meta:
        constraints = (models.UniqueConstraint(fields=["subject", "step_seconds", "at"], name="one_sample_per_step"),)
        indexes = (models.Index(fields=["step_seconds", "at"], name="sample_at"),)

    def __str__(self) -> str:
        return f"{self.subject} at {self.at}"
