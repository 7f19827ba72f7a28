"""History as rows: what happened to replicas, and what was decided where nothing happened to one."""

from django.contrib.postgres.fields import ArrayField
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models


class Transition(models.Model):
    """What happened to a replica, when, why and by whom. Written in the transaction that changed the state."""

    replica = models.ForeignKey(
        "Replica", null=True, on_delete=models.DO_NOTHING, db_constraint=False, related_name="transitions"
    )  # the id stays when the replica goes: history still tells which one it was
    deployment_name = models.CharField(max_length=63)
    generation = models.PositiveIntegerField()
    old = models.CharField(max_length=16, blank=True)
    new = models.CharField(max_length=16)
    goal = models.CharField(max_length=16)
    reason = models.CharField(max_length=64, blank=True)
    message = models.TextField(blank=True)
    fields = models.JSONField(default=dict, blank=True)
    actor = models.CharField(max_length=200)
    gpus = ArrayField(
        models.CharField(max_length=128), default=list, blank=True, help_text="UUIDs of those the replica is on"
    )
    at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        ordering = ("-id",)
        verbose_name = "event"
        verbose_name_plural = "history"

    def __str__(self) -> str:
        return f"{self.deployment_name}/{self.replica_id}: {self.old} -> {self.new}"


class Decision(models.Model):
    """What was decided, with its inputs, where no replica changed for it; what changes one is a Transition."""

    class Kind(models.TextChoices):
        PLACEMENT = "placement", "a replica that found no GPU"
        EVICTION = "eviction", "a request for whose model nobody may be evicted"
        LIMIT = "limit", "another limit of an engine's KV memory"
        WAIT = "wait", "a replica that waits for others"
        REFUSAL = "refusal", "a verb that was refused"
        ORPHAN = "orphan", "the end of an engine that no replica owned"
        CORDON = "cordon", "a GPU that takes nothing new, or takes it again"

    kind = models.CharField(max_length=16, choices=Kind.choices)
    code = models.CharField(max_length=64)
    deployment_name = models.CharField(max_length=63)
    replica = models.ForeignKey(
        "Replica", null=True, on_delete=models.DO_NOTHING, db_constraint=False, related_name="decisions"
    )  # the id stays when the replica goes, as in the history
    sentence = models.TextField()
    inputs = models.JSONField(default=dict, encoder=DjangoJSONEncoder)
    actor = models.CharField(max_length=200)
    at = models.DateTimeField(db_index=True)
    last_at = models.DateTimeField(help_text="when the same was last decided again")
    times = models.PositiveIntegerField(default=1)

    class Meta:
        ordering = ("-id",)
        indexes = (models.Index(fields=["deployment_name", "at"], name="decisions_of_deployment"),)

    def __str__(self) -> str:
        return self.sentence
