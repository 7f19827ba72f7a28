"""Policies as rows: windows with what they ask of deployments, and what operators overrode."""

from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Q

from models_app.in_force import Level

SHORTEST_SECONDS = 60.0
LONGEST_SECONDS = 31 * 86400.0
NAME = RegexValidator(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$", "use 1 to 63 letters, digits, '.', '_' or '-'")
LABEL = RegexValidator(
    r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}=[A-Za-z0-9][A-Za-z0-9._-]{0,62}$", "write a label as key=value, such as team=ml"
)


class Window(models.Model):
    """A recurring time in which deployments have other settings than their own."""

    name = models.CharField(max_length=63, unique=True, validators=[NAME])
    cron = models.CharField(
        max_length=120, blank=True, help_text="opens when these five fields match the clock of its zone"
    )
    weekdays = models.JSONField(default=list, blank=True, help_text="opens on these days, as mon, tue, ...")
    time = models.TimeField(null=True, blank=True, help_text="opens at this time of those days")
    zone = models.CharField(max_length=64, default="UTC", help_text="an IANA name, such as Europe/Berlin")
    duration_seconds = models.FloatField(
        validators=[MinValueValidator(SHORTEST_SECONDS), MaxValueValidator(LONGEST_SECONDS)],
        help_text="stays open so long, in real seconds whatever the clocks do",
    )
    precedence = models.IntegerField(
        default=0,
        validators=[MinValueValidator(-1000), MaxValueValidator(1000)],
        help_text="of several open windows the highest decides, field by field",
    )
    ready_by = models.BooleanField(
        default=False, help_text="models that it keeps awake load or wake early enough to be ready when it opens"
    )
    valid_from = models.DateTimeField(null=True, blank=True, help_text="opens at no time before this")
    valid_until = models.DateTimeField(null=True, blank=True, help_text="closes by then, and does not open again")
    paused = models.BooleanField(default=False, help_text="kept, but without effect")
    author = models.CharField(max_length=200, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    seq = models.BigIntegerField(default=1, editable=False)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class WindowState(models.Model):
    """What a window asks of one deployment, or of all that carry a label; a field without a value stays as it is."""

    window = models.ForeignKey(Window, on_delete=models.CASCADE, related_name="states")
    deployment = models.ForeignKey(
        "models_app.Deployment", null=True, blank=True, on_delete=models.CASCADE, related_name="window_states"
    )
    label = models.CharField(max_length=127, blank=True, validators=[LABEL])
    level = models.CharField(max_length=16, blank=True, choices=Level.choices)
    kv_floor_bytes = models.BigIntegerField(null=True, blank=True)
    kv_cap_bytes = models.BigIntegerField(null=True, blank=True)
    kv_weight = models.PositiveSmallIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1), MaxValueValidator(100)]
    )
    priority = models.IntegerField(null=True, blank=True)
    replicas = models.PositiveSmallIntegerField(null=True, blank=True, validators=[MaxValueValidator(64)])
    pinned = models.BooleanField(null=True, blank=True)
    max_concurrency = models.PositiveIntegerField(null=True, blank=True, validators=[MinValueValidator(1)])
    queue_limit = models.PositiveIntegerField(null=True, blank=True)
    queue_seconds = models.FloatField(null=True, blank=True, validators=[MinValueValidator(0.0)])

    class Meta:
        ordering = ("id",)
        constraints = (
            models.CheckConstraint(
                condition=Q(deployment__isnull=False, label="") | (Q(deployment__isnull=True) & ~Q(label="")),
                name="window_state_names_one",
            ),
            models.UniqueConstraint(fields=["window", "deployment"], name="window_state_once_per_deployment"),
            models.UniqueConstraint(
                fields=["window", "label"], condition=~Q(label=""), name="window_state_once_per_label"
            ),
        )

    def __str__(self) -> str:
        return f"{self.window}: {self.label or self.deployment}"


class Override(models.Model):
    """An operator's word against what windows say of a deployment, until an instant; `values` by field."""

    deployment = models.ForeignKey("models_app.Deployment", on_delete=models.CASCADE, related_name="overrides")
    values = models.JSONField(default=dict)
    until = models.DateTimeField(db_index=True)
    actor = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("id",)

    def __str__(self) -> str:
        return f"{self.deployment} until {self.until:%Y-%m-%d %H:%M} UTC"
