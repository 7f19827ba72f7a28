"""Who may call, and what their calls used."""

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone


class Scope(models.TextChoices):
    """What a key may do. An inference key can never manage."""

    INFERENCE = "inference"
    READ = "read"
    MANAGE = "manage"


class ApiKey(models.Model):
    """A bearer key. Only its SHA-256 is kept: the key itself is 256 random bits, so a slow hash adds nothing."""

    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=16, help_text="the first characters, to recognise it by")
    digest = models.CharField(max_length=64, unique=True, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)
    scopes = ArrayField(models.CharField(max_length=16, choices=Scope.choices), default=list)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-id",)
        verbose_name = "API key"

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    @property
    def usable(self) -> bool:
        """Neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > timezone.now())


class UsageRecord(models.Model):
    """One finished call, written in batches off the request path."""

    key = models.ForeignKey(ApiKey, null=True, on_delete=models.SET_NULL, related_name="usage")
    served_name = models.CharField(max_length=200)
    path = models.CharField(max_length=64)
    replica_id = models.BigIntegerField(null=True, help_text="kept as a number: history outlives replicas")
    status = models.PositiveSmallIntegerField()
    outcome = models.CharField(max_length=32, help_text="ok, cancelled, or the error's code")
    stream = models.BooleanField()
    prompt_tokens = models.PositiveIntegerField(null=True)
    cached_tokens = models.PositiveIntegerField(null=True)
    completion_tokens = models.PositiveIntegerField(null=True)
    wait_seconds = models.FloatField(help_text="admission to lease: wake and queue")
    ttft_seconds = models.FloatField(null=True)
    e2e_seconds = models.FloatField()
    at = models.DateTimeField(db_index=True)

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"{self.served_name} {self.path} {self.status}"
