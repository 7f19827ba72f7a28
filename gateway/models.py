"""Who may call, and what their calls used."""

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import HashIndex
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from gateway.benchmark_rows import BenchmarkRun as BenchmarkRun
from models_app.models import SERVED_NAME, SLUG, Deployment


class Scope(models.TextChoices):
    """What a key may do. An inference key can never manage."""

    INFERENCE = "inference"
    READ = "read"
    MANAGE = "manage"


class Quota(models.Model):
    """What somebody may use; empty means no limit of its own."""

    requests_per_minute = models.PositiveIntegerField(null=True, blank=True, validators=[MinValueValidator(1)])
    tokens_per_minute = models.PositiveIntegerField(null=True, blank=True, validators=[MinValueValidator(1)])
    concurrent_requests = models.PositiveIntegerField(null=True, blank=True, validators=[MinValueValidator(1)])
    tokens_per_day = models.PositiveBigIntegerField(null=True, blank=True, help_text="UTC days; prompt + completion")
    tokens_per_month = models.PositiveBigIntegerField(null=True, blank=True, help_text="UTC calendar months")
    gpu_seconds_per_day = models.FloatField(null=True, blank=True, validators=[MinValueValidator(0.0)])
    gpu_seconds_per_month = models.FloatField(null=True, blank=True, validators=[MinValueValidator(0.0)])

    class Meta:
        abstract = True


class Team(Quota):
    """People who share limits, and a share of every busy deployment. A key's own limits hold besides its team's."""

    name = models.CharField(max_length=63, unique=True, validators=[SLUG])
    weight = models.PositiveIntegerField(
        default=1, validators=[MinValueValidator(1)], help_text="its share of a busy deployment, against other teams'"
    )
    priority = models.IntegerField(
        default=0, help_text="of its requests; they may ask for less urgency (a higher number), never for more"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class ApiKey(Quota):
    """A bearer key. Only its SHA-256 is kept: the key itself is 256 random bits, so a slow hash adds nothing."""

    name = models.CharField(max_length=100)
    team = models.ForeignKey(Team, null=True, blank=True, on_delete=models.PROTECT, related_name="keys")
    prefix = models.CharField(max_length=16, help_text="the first characters, to recognise it by")
    digest = models.CharField(max_length=64, unique=True, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)
    scopes = ArrayField(models.CharField(max_length=16, choices=Scope.choices), default=list)
    allowed_models = ArrayField(
        models.CharField(max_length=200), default=list, blank=True, help_text="names it may ask for; empty: every one"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    metered = models.BooleanField(
        default=True, editable=False, help_text="its calls are kept as usage; those of a benchmark may not be"
    )
    keeps_awake = models.BooleanField(
        default=True, editable=False, help_text="its calls count as use of a model; those of a benchmark may not"
    )

    class Meta:
        ordering = ("-id",)
        verbose_name = "API key"

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    @property
    def usable(self) -> bool:
        """A key is usable while the key is neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > timezone.now())


class Told(models.TextChoices):
    """Where the tokens of a call are known from."""

    ANSWER = "answer", "the engine said them"
    OPEN = "open", "not known yet: the answer did not come to its end"
    COUNTERS = "counters", "its share of what the engine counted beyond all that it said"
    LOST = "lost", "never to be known: the engine went, or others may have used it"


class UsageRecord(models.Model):
    """One finished call, written in batches off the request path."""

    key = models.ForeignKey(ApiKey, null=True, on_delete=models.SET_NULL, related_name="usage", db_index=False)
    team = models.ForeignKey(Team, null=True, on_delete=models.SET_NULL, related_name="usage", db_index=False)
    served_name = models.CharField(max_length=200, help_text="of the deployment that answered, or was to answer")
    asked_name = models.CharField(max_length=200, default="", help_text="what the caller asked for: maybe an alias")
    path = models.CharField(max_length=64)
    replica_id = models.BigIntegerField(null=True, help_text="kept as a number: history outlives replicas")
    status = models.PositiveSmallIntegerField()
    outcome = models.CharField(max_length=32, help_text="ok, cancelled, or the error's code")
    stream = models.BooleanField()
    prompt_tokens = models.PositiveIntegerField(null=True)
    cached_tokens = models.PositiveIntegerField(null=True)
    completion_tokens = models.PositiveIntegerField(null=True)
    wake_seconds = models.FloatField(default=0.0, help_text="until the model was ready")
    queue_seconds = models.FloatField(default=0.0, help_text="until there was a seat at the ready model")
    ttft_seconds = models.FloatField(null=True)
    gap_seconds = models.FloatField(null=True, help_text="mean time between the pieces of a stream")
    longest_gap_seconds = models.FloatField(null=True)
    e2e_seconds = models.FloatField()
    gpu_seconds = models.FloatField(default=0.0, help_text="its share of the GPUs while in flight")
    at = models.DateTimeField(db_index=True)
    generation = models.PositiveIntegerField(null=True, help_text="of the replica")
    told = models.CharField(max_length=8, choices=Told.choices, default=Told.ANSWER)
    pieces = models.PositiveIntegerField(default=0, help_text="of content relayed")
    prompt_copies = models.PositiveSmallIntegerField(
        default=1, help_text="times the engine counts the prompt: once for each of n answers, where usage says it once"
    )
    body_bytes = models.PositiveBigIntegerField(default=0)
    request_id = models.CharField(max_length=128, default="", help_text="as the caller's answer named it")
    beside = models.PositiveIntegerField(null=True, help_text="other calls in flight at the replica when it was asked")
    trail = models.JSONField(null=True, help_text="what it waited for or asked in vain, step by step; null for nothing")

    class Meta:
        ordering = ("-id",)
        verbose_name = "call"
        indexes = (
            HashIndex(fields=["request_id"], name="usage_by_request"),
            models.Index(fields=["key", "at"], name="usage_of_key"),
            models.Index(fields=["team", "at"], name="usage_of_team"),
            models.Index(fields=["served_name", "at"], name="usage_of_model"),
            models.Index(fields=["asked_name", "at"], condition=~Q(asked_name=F("served_name")), name="usage_of_alias"),
            models.Index(fields=["outcome", "at"], condition=~Q(outcome="ok"), name="usage_not_ok"),
            models.Index(fields=["replica_id", "generation"], condition=Q(told="open"), name="usage_open"),
        )

    def __str__(self) -> str:
        return f"{self.served_name} {self.path} {self.status}"


class EngineAccount(models.Model):
    """One start of an engine: what its calls are known to have used, to be compared with its own counters."""

    replica_id = models.BigIntegerField()
    generation = models.PositiveIntegerField()
    told_prompt_tokens = models.PositiveBigIntegerField(default=0, help_text="in all records, as the engine counts")
    told_completion_tokens = models.PositiveBigIntegerField(default=0)
    other_prompt_tokens = models.BigIntegerField(default=0, help_text="counted by the engine and nobody's")
    other_completion_tokens = models.BigIntegerField(default=0)
    seen_prompt_tokens = models.PositiveBigIntegerField(null=True, help_text="its counters when it was last quiet")
    seen_completion_tokens = models.PositiveBigIntegerField(null=True)
    seen_at = models.DateTimeField(null=True)
    settled = models.BooleanField(default=False, help_text="nothing was written since records and counters agreed")
    written_at = models.DateTimeField(help_text="when a record last named it")
    doubtful = models.BooleanField(default=False, help_text="records may be missing: the next difference is nobody's")
    lost = models.PositiveIntegerField(default=0, help_text="records whose tokens will never be known")
    closed = models.BooleanField(default=False, help_text="the engine is gone")

    class Meta:
        ordering = ("-id",)
        constraints = (models.UniqueConstraint(fields=["replica_id", "generation"], name="engine_account_once"),)

    def __str__(self) -> str:
        return f"account of {self.replica_id}:{self.generation}"


class UsageHour(models.Model):
    """Sums of one hour (UTC), kept when single records are pruned; added to in the transaction that writes those."""

    hour = models.DateTimeField()
    key = models.ForeignKey(ApiKey, null=True, on_delete=models.SET_NULL, related_name="hours")
    team = models.ForeignKey(Team, null=True, on_delete=models.SET_NULL, related_name="hours")
    served_name = models.CharField(max_length=200)
    calls = models.PositiveBigIntegerField(default=0)
    failed = models.PositiveBigIntegerField(default=0, help_text="neither ok nor cancelled")
    cancelled = models.PositiveBigIntegerField(default=0)
    prompt_tokens = models.PositiveBigIntegerField(default=0)
    cached_tokens = models.PositiveBigIntegerField(default=0)
    completion_tokens = models.PositiveBigIntegerField(default=0)
    wake_seconds = models.FloatField(default=0.0)
    queue_seconds = models.FloatField(default=0.0)
    e2e_seconds = models.FloatField(default=0.0)
    gpu_seconds = models.FloatField(default=0.0)

    class Meta:
        ordering = ("-hour",)
        verbose_name = "hour of usage"
        verbose_name_plural = "usage by the hour"
        constraints = (
            models.UniqueConstraint(
                fields=["hour", "key", "team", "served_name"], nulls_distinct=False, name="usage_hour_once"
            ),
        )
        indexes = (
            models.Index(fields=["key", "hour"], name="usage_hours_of_key"),
            models.Index(fields=["team", "hour"], name="usage_hours_of_team"),
        )

    def __str__(self) -> str:
        return f"{self.served_name} {self.hour:%Y-%m-%d %H}"


class UsageSpread(models.Model):
    """How the calls of a step of time ended and how long they took, of all together or of one model, team or key.

    Ids are kept as numbers: those of keys and teams that are gone stand for nobody.
    """

    step_seconds = models.PositiveIntegerField()
    at = models.DateTimeField(help_text="when the step begins")
    grouped = models.PositiveSmallIntegerField(help_text="by what, as metering/spread_rows.py numbers it")
    served_name = models.CharField(max_length=200, default="")
    team_id = models.BigIntegerField(null=True)
    key_id = models.BigIntegerField(null=True)
    spread = models.JSONField(default=dict, help_text="by measure and bucket, how many: metering/spread.py")
    seen_calls = models.PositiveBigIntegerField(null=True, help_text="of an hour of all: its sums when this was made")
    seen_tokens = models.PositiveBigIntegerField(null=True)

    class Meta:
        ordering = ("-at",)
        constraints = (
            models.UniqueConstraint(
                fields=["step_seconds", "grouped", "at", "served_name", "team_id", "key_id"],
                nulls_distinct=False,
                name="usage_spread_once",
            ),
        )
        indexes = (
            models.Index(fields=["step_seconds", "at"], name="usage_spread_of_step"),
            models.Index(fields=["key_id", "step_seconds", "at"], name="usage_spread_of_key"),
        )

    def __str__(self) -> str:
        return f"{self.step_seconds} s from {self.at:%Y-%m-%d %H:%M}"


class Alias(models.Model):
    """Another name a caller may ask for, answered by one of its targets."""

    name = models.CharField(max_length=200, unique=True, validators=[SERVED_NAME])
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name",)
        verbose_name_plural = "aliases"

    def __str__(self) -> str:
        return self.name


class AliasTarget(models.Model):
    """A deployment behind an alias: chosen by weight; the others, in their order, are the fallback."""

    alias = models.ForeignKey(Alias, on_delete=models.CASCADE, related_name="targets")
    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, related_name="+")
    weight = models.PositiveIntegerField(
        default=1, help_text="share of the requests; 0: only when others cannot answer"
    )
    place = models.PositiveSmallIntegerField(default=0, help_text="order among the fallbacks")

    class Meta:
        ordering = ("place", "id")
        constraints = (models.UniqueConstraint(fields=["alias", "deployment"], name="alias_target_once"),)

    def __str__(self) -> str:
        return f"{self.alias} -> {self.deployment}"
