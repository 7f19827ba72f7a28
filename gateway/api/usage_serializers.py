"""What may be asked of usage, and how it is shown."""

from typing import Any

from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers

from gateway.api.quantiles import QUANTILES
from gateway.metering.usage_fields import SHOWN, SUMS
from gateway.models import Team, UsageHour, UsageRecord
from models_app.api.serializers import NamedField

GROUPS = ("hour", "day", "key", "team", "model")


class UsageSerializer(serializers.ModelSerializer[UsageRecord]):
    """This is one finished call; null stands for what the engine did not tell or what did not happen."""

    key_name = serializers.CharField(source="key.name", read_only=True, allow_null=True, default=None)
    team_name = serializers.CharField(source="team.name", read_only=True, allow_null=True, default=None)

    class Meta:
        model = UsageRecord
        fields = ("id", "at", "key", "key_name", "team", "team_name", *SHOWN)
        read_only_fields = fields


class SumsSerializer(serializers.ModelSerializer[UsageHour]):
    """Sums over many calls, and how long they took; null where single calls are no longer kept."""

    ttft_p50_seconds = serializers.FloatField(required=False, allow_null=True)
    ttft_p95_seconds = serializers.FloatField(required=False, allow_null=True)
    e2e_p50_seconds = serializers.FloatField(required=False, allow_null=True)
    e2e_p95_seconds = serializers.FloatField(required=False, allow_null=True)

    class Meta:
        model = UsageHour
        fields: tuple[str, ...] = (*SUMS, *QUANTILES)
        read_only_fields = SUMS


class HoursRowSerializer(SumsSerializer):
    """Sums of one group; only the fields it is grouped by are there. Null is what was deleted, or no team."""

    hour = serializers.DateTimeField(required=False)
    day = serializers.DateField(required=False)
    key = serializers.IntegerField(required=False, allow_null=True)
    key_name = serializers.CharField(required=False, allow_null=True)
    team = serializers.IntegerField(required=False, allow_null=True)
    team_name = serializers.CharField(required=False, allow_null=True)
    served_name = serializers.CharField(required=False)

    class Meta(SumsSerializer.Meta):
        fields = ("hour", "day", "key", "key_name", "team", "team_name", "served_name", *SUMS, *QUANTILES)


@extend_schema_serializer(many=False)
class HoursPageSerializer(serializers.Serializer[Any]):
    """A page of sums, and the sums over all pages."""

    count = serializers.IntegerField()
    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)
    results = HoursRowSerializer(many=True)
    totals = SumsSerializer()


class UsageQuerySerializer(serializers.Serializer[Any]):
    """The query narrows usage by model, key, team and time; `since` is included, `until` is not."""

    model = serializers.CharField(required=False, help_text="a served name")
    key = serializers.IntegerField(required=False, min_value=1, help_text="a key's id")
    team = NamedField(queryset=Team.objects.all(), required=False, help_text="a team's id or name")
    since = serializers.DateTimeField(required=False, help_text="from then on, as 2030-01-31T00:00:00Z")
    until = serializers.DateTimeField(required=False, help_text="before then")


class CallsQuerySerializer(UsageQuerySerializer):
    """The query narrows single calls as it narrows sums, and by outcome; `model` may be an alias."""

    model = serializers.CharField(required=False, help_text="a served name, or an alias as it was asked for")
    outcome = serializers.CharField(required=False, help_text="ok, cancelled, or an error's code")


class HoursQuerySerializer(UsageQuerySerializer):
    """What narrows sums, and by what to add up."""

    group_by = serializers.CharField(
        default="hour,key,team,model", help_text=f"some of {', '.join(GROUPS)}, with commas between"
    )

    def validate_group_by(self, text: str) -> list[str]:
        """Each word once, in a fixed order."""
        wanted = {word.strip() for word in text.split(",")}
        if unknown := wanted.difference(GROUPS):
            given = ", ".join(sorted(map(repr, unknown)))
            raise serializers.ValidationError(f"{given} is none of {', '.join(GROUPS)}")
        return [group for group in GROUPS if group in wanted]
