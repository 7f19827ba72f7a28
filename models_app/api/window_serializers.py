"""What the API accepts of windows and overrides, field by field."""

from datetime import date, datetime
from typing import Any

from django.db import transaction
from rest_framework import serializers

from models_app.api.serializers import NamedField, RowSerializer
from models_app.in_force import FIELDS, Level
from models_app.models import Deployment, Window, WindowState
from models_app.policy.windows import ahead, calendar, conflicts, preview, reading
from models_app.policy.windows.in_force import InForceRow, OverrideRow
from models_app.policy.windows.plan import Asked, Schedule
from models_app.policy.windows.week import WeekRow
from models_app.policy.windows.zones import zone
from models_app.policy_rows import LONGEST_SECONDS, SHORTEST_SECONDS
from sardeenz.errors import InvalidSpec

UNSAVED = Schedule(0, "the new window", 0, calendar.Recurrence("UTC", SHORTEST_SECONDS, "0 0 * * *"), ())

EARLIEST, LATEST = 2000, 2100


def _bytes() -> serializers.IntegerField:
    return serializers.IntegerField(required=False, allow_null=True, min_value=1, max_value=2**60)


class WindowRowSerializer(RowSerializer):
    """A window; `preview.row` makes the row."""

    row = preview.WindowRow


class PreviewRowSerializer(RowSerializer):
    """What an unsaved window would do."""

    row = preview.PreviewRow


class InForceRowSerializer(RowSerializer):
    """The settings in force at one instant."""

    row = InForceRow


class WeekRowSerializer(RowSerializer):
    """Windows and overrides of one week."""

    row = WeekRow


class WeekSerializer(serializers.Serializer[Any]):
    """Which week is asked about, and by whose clock."""

    zone = serializers.CharField(default="UTC", max_length=64, help_text="an IANA name")
    day = serializers.DateField(required=False, help_text="a day of the week; else today")

    def validate_zone(self, value: str) -> str:
        """It has to be known here."""
        try:
            zone(value)
        except InvalidSpec as error:
            raise serializers.ValidationError(error.message) from error
        return value

    def validate_day(self, value: date) -> date:
        """Zones are known for these years."""
        if not EARLIEST <= value.year < LATEST:
            raise serializers.ValidationError(f"must be a day of the years {EARLIEST} to {LATEST - 1}")
        return value


class OverrideRowSerializer(RowSerializer):
    """An operator's word against windows."""

    row = OverrideRow


class AheadRowSerializer(RowSerializer):
    """What would act and move."""

    row = ahead.AheadRow


class QuestionSerializer(serializers.Serializer[Any]):
    """What is asked: an instant, or a change of a window, or both."""

    at = serializers.DateTimeField(
        required=False, help_text="an instant; else now, or of a window that is closed its next opening"
    )
    window = serializers.CharField(required=False, max_length=63, help_text="the name of one that is saved")
    change = serializers.DictField(
        required=False, help_text="fields as /api/windows takes them: of that window, or of a new one"
    )
    delete = serializers.BooleanField(required=False, help_text="as if that window were gone")

    def validate_window(self, name: str) -> Window:
        """The window of this name."""
        found = Window.objects.prefetch_related("states").filter(name=name).first()
        if found is None:
            raise serializers.ValidationError(f"there is no window {name!r}")
        return found

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """A window goes or changes, not both, and only one that is there goes."""
        if attrs.get("delete") and ("window" not in attrs or "change" in attrs):
            raise serializers.ValidationError({"delete": "name the window that goes, and no change of it"})
        if "window" in attrs and "change" not in attrs and not attrs.get("delete"):
            raise serializers.ValidationError({"change": "say what would be another, or delete"})
        return attrs


class WindowStateSerializer(serializers.ModelSerializer[WindowState]):
    """What a window asks of one deployment, or of all that carry a label."""

    deployment = NamedField(queryset=Deployment.objects.filter(deleting=False), required=False, allow_null=True)
    kv_floor_bytes = _bytes()
    kv_cap_bytes = _bytes()

    class Meta:
        model = WindowState
        fields = ("deployment", "label", *FIELDS)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """It names one of both, and asks something of it."""
        if bool(attrs.get("deployment")) == bool(attrs.get("label")):
            raise serializers.ValidationError({"deployment": "name a deployment or a label, one of both"})
        if not any(attrs.get(name) not in (None, "") for name in FIELDS):
            raise serializers.ValidationError({"level": "say at least one setting, or leave this deployment out"})
        floor, cap = attrs.get("kv_floor_bytes"), attrs.get("kv_cap_bytes")
        if floor is not None and cap is not None and cap < floor:
            raise serializers.ValidationError({"kv_cap_bytes": "must not be below the KV floor"})
        return attrs


class WindowSerializer(serializers.ModelSerializer[Window]):
    """A window as an operator writes it; its states are given together, and replace those it had."""

    weekdays = serializers.ListField(child=serializers.ChoiceField(choices=calendar.DAYS), required=False, max_length=7)
    time = serializers.TimeField(required=False, allow_null=True)
    duration_seconds = serializers.FloatField(min_value=SHORTEST_SECONDS, max_value=LONGEST_SECONDS)
    states = WindowStateSerializer(many=True, required=False)

    class Meta:
        model = Window
        fields = (
            "name",
            "cron",
            "weekdays",
            "time",
            "zone",
            "duration_seconds",
            "precedence",
            "ready_by",
            "valid_from",
            "valid_until",
            "paused",
            "states",
        )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """It has to open at some time, and to contradict no other window."""
        self.schedule = self._schedule(attrs)
        recurrence = self.schedule.recurrence
        if bool(recurrence.cron) == bool(recurrence.weekdays and recurrence.at):
            raise serializers.ValidationError({"cron": "give a cron expression, or weekdays and a time"})
        valid_from, valid_until = recurrence.valid_from, recurrence.valid_until
        if valid_from is not None and valid_until is not None and valid_until <= valid_from:
            raise serializers.ValidationError({"valid_until": "must be later than the beginning of its validity"})
        try:
            calendar.check(recurrence)
        except InvalidSpec as error:
            raise serializers.ValidationError({error.fields["field"]: error.message}) from error
        named = [(each.deployment, each.label) for each in self.schedule.asked]
        if len(named) != len(set(named)):
            raise serializers.ValidationError({"states": "each deployment and each label comes once"})
        return attrs

    def _schedule(self, attrs: dict[str, Any]) -> Schedule:
        """As the plan would take it, with what is not given as it is."""
        known = reading.schedule(self.instance) if self.instance is not None else UNSAVED
        row = self.instance or Window()
        fields = {name: attrs.get(name, getattr(row, name)) for name in self.Meta.fields if name != "states"}
        fields["weekdays"] = tuple(fields["weekdays"])
        recurrence = calendar.Recurrence(
            zone=fields["zone"],
            duration_seconds=fields["duration_seconds"],
            cron=fields["cron"],
            weekdays=fields["weekdays"],
            at=fields["time"],
            valid_from=fields["valid_from"],
            valid_until=fields["valid_until"],
        )
        asked = tuple(_asked(state) for state in attrs["states"]) if "states" in attrs else known.asked
        name, precedence = fields["name"] or known.name, fields["precedence"]
        return Schedule(known.id, name, precedence, recurrence, asked, fields["ready_by"], fields["paused"])

    def refuse_conflicts(self, now: datetime) -> None:
        """Raise WindowsOverlap where another window contradicts it."""
        others = [reading.schedule(window) for window in Window.objects.prefetch_related("states")]
        conflicts.refuse(self.schedule, others, now)

    @transaction.atomic
    def create(self, validated_data: dict[str, Any]) -> Window:
        """The window with what it asks."""
        states = validated_data.pop("states", [])
        window = Window.objects.create(**validated_data)
        _ask(window, states)
        return window

    @transaction.atomic
    def update(self, instance: Window, validated_data: dict[str, Any]) -> Window:
        """Write what was given; states that are given replace all it had."""
        states = validated_data.pop("states", None)
        for name, value in validated_data.items():
            setattr(instance, name, value)
        instance.seq += 1
        instance.save(update_fields=[*validated_data, "seq"])
        if states is not None:
            instance.states.all().delete()
            _ask(instance, states)
        return Window.objects.prefetch_related("states__deployment").get(pk=instance.pk)


def _ask(window: Window, states: list[dict[str, Any]]) -> None:
    for state in states:
        WindowState.objects.create(window=window, **state)


def _asked(state: dict[str, Any]) -> Asked:
    values = {name: state[name] for name in FIELDS if state.get(name) not in (None, "")}
    deployment = state.get("deployment")
    return Asked(deployment.pk if deployment is not None else None, state.get("label", ""), values)


class OverrideSerializer(serializers.ModelSerializer[WindowState]):
    """What an operator wants of one deployment in place of what windows say, and until when."""

    deployment = NamedField(queryset=Deployment.objects.filter(deleting=False))
    until = serializers.DateTimeField(required=False, allow_null=True, help_text="else the windows' next edge")
    level = serializers.ChoiceField(choices=Level.choices, required=False)
    kv_floor_bytes = _bytes()
    kv_cap_bytes = _bytes()

    class Meta:
        model = WindowState
        fields = ("deployment", "until", *FIELDS)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """At least one setting is said."""
        if not self.values(attrs):
            raise serializers.ValidationError({"level": "say at least one setting"})
        return attrs

    @staticmethod
    def values(attrs: dict[str, Any]) -> dict[str, Any]:
        """The settings among what was given."""
        return {name: attrs[name] for name in FIELDS if attrs.get(name) not in (None, "")}
