"""Keys and usage as the API shows them."""

from typing import Any

from rest_framework import serializers

from gateway import keys
from gateway.models import ApiKey, Scope, UsageRecord


class KeySerializer(serializers.ModelSerializer[ApiKey]):
    """A key without itself: only its first characters are kept."""

    scopes = serializers.ListField(child=serializers.ChoiceField(choices=Scope.choices), allow_empty=False)
    owner_name = serializers.CharField(source="owner.username", read_only=True, default=None)
    usable = serializers.BooleanField(read_only=True)

    class Meta:
        model = ApiKey
        fields = (
            "id",
            "name",
            "prefix",
            "scopes",
            "owner_name",
            "usable",
            "created_at",
            "expires_at",
            "revoked_at",
        )
        read_only_fields = ("prefix", "created_at", "revoked_at")

    def validate_scopes(self, scopes: list[str]) -> list[str]:
        """An inference key can never manage."""
        return keys.check_scopes(scopes)


class NewKeySerializer(KeySerializer):
    """The answer to a creation, the only one that holds the key."""

    key = serializers.CharField(read_only=True)

    class Meta(KeySerializer.Meta):
        fields = (*KeySerializer.Meta.fields, "key")  # type: ignore[assignment]

    def create(self, validated_data: dict[str, Any]) -> ApiKey:
        """Make the key; its text travels on the instance, and nowhere else."""
        made, plain = keys.create(**validated_data)
        made.key = plain  # type: ignore[attr-defined]
        return made


class UsageSerializer(serializers.ModelSerializer[UsageRecord]):
    """One finished call."""

    key_name = serializers.CharField(source="key.name", read_only=True, default=None)

    class Meta:
        model = UsageRecord
        fields = (
            "id",
            "at",
            "key",
            "key_name",
            "served_name",
            "path",
            "replica_id",
            "status",
            "outcome",
            "stream",
            "prompt_tokens",
            "cached_tokens",
            "completion_tokens",
            "wake_seconds",
            "queue_seconds",
            "ttft_seconds",
            "e2e_seconds",
        )
        read_only_fields = fields
