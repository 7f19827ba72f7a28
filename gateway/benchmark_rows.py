"""Benchmarks as rows: what was asked, how far it is, and what came of it."""

from django.contrib.postgres.fields import ArrayField
from django.db import models


class BenchmarkRun(models.Model):
    """One benchmark. Its runner alone writes it from `running` on, but for the wish to cancel."""

    class Kind(models.TextChoices):
        LOAD = "load", "calls as they were asked for"
        SEARCH = "search", "the highest load that keeps an SLO"
        DRILL = "drill", "what the fleet does: sleeps and wakes"

    class Status(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        DONE = "done"
        FAILED = "failed"
        CANCELLED = "cancelled"

    name = models.CharField(max_length=100, blank=True)
    kind = models.CharField(max_length=8, choices=Kind.choices, default=Kind.LOAD)
    plan = models.JSONField(help_text="the load, as it was asked for")
    options = models.JSONField(default=dict, help_text="what a search or a drill asks besides")
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.QUEUED)
    code = models.CharField(max_length=64, blank=True, help_text="why it failed")
    message = models.TextField(blank=True)
    deployments = ArrayField(models.CharField(max_length=63), default=list, help_text="that are asked, probes included")
    gpus = ArrayField(models.CharField(max_length=80), default=list, help_text="UUIDs of those they were on")
    metered = models.BooleanField(default=False, help_text="its calls are kept as usage")
    keeps_awake = models.BooleanField(default=False, help_text="its calls count as use of the models")
    actor = models.CharField(max_length=150)
    created_at = models.DateTimeField(auto_now_add=True)
    began_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    heard_at = models.DateTimeField(null=True, help_text="when its runner last said that it is there")
    runner = models.CharField(max_length=100, blank=True, help_text="the runner's process, as its node knows it")
    node = models.CharField(max_length=63, blank=True)
    cancel_wanted = models.BooleanField(default=False)
    progress = models.JSONField(default=dict)
    environment = models.JSONField(default=dict, help_text="GPUs, drivers, engines and their flags, neighbours")
    result = models.JSONField(null=True)

    class Meta:
        ordering = ("-id",)
        verbose_name = "benchmark"
        indexes = (
            models.Index(
                fields=["status"], condition=models.Q(status__in=["queued", "running"]), name="benchmarks_open"
            ),
        )

    def __str__(self) -> str:
        return self.name or f"benchmark {self.pk}"

    @property
    def is_open(self) -> bool:
        """Whether it has not ended yet."""
        return self.status in (self.Status.QUEUED, self.Status.RUNNING)
