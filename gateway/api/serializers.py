"""Teams, keys and aliases as the API takes and shows them."""

from typing import Any, TypeVar

from django.db import models, transaction
from django.utils import timezone
from rest_framework import serializers

from gateway.access import aliases, keys
from gateway.errors import KeyRevoked
from gateway.limits.limiter import Quota
from gateway.models import Alias, AliasTarget, ApiKey, Scope, Team
from models_app.api.serializers import NamedField
from models_app.models import Deployment

QUOTA = Quota._fields

Row = TypeVar("Row", bound=models.Model)


class TeamSerializer(serializers.ModelSerializer[Team]):
    """People who share limits. `keys` counts those that are not revoked."""

    keys = serializers.IntegerField(source="n_keys", read_only=True, default=0)

    class Meta:
        model = Team
        fields = ("id", "name", "weight", "priority", *QUOTA, "keys", "created_at")

    def update(self, instance: Team, validated_data: dict[str, Any]) -> Team:
        """Only the given fields are written, so that a change of other fields at the same time is kept."""
        return _write(instance, validated_data)


class KeySerializer(serializers.ModelSerializer[ApiKey]):
    """A key without itself: only its first characters are kept."""

    scopes = serializers.ListField(
        child=serializers.ChoiceField(
            choices=Scope.choices,
            error_messages={"invalid_choice": f"`{{input}}` is none of {', '.join(Scope.values)}"},
        ),
        allow_empty=False,
    )
    team = NamedField(queryset=Team.objects.all(), required=False, allow_null=True)
    team_name = serializers.CharField(source="team.name", read_only=True, allow_null=True, default=None)
    owner_name = serializers.CharField(source="owner.username", read_only=True, allow_null=True, default=None)
    allowed_models = serializers.ListField(
        child=serializers.CharField(max_length=200), required=False, help_text="names it may ask for; empty: every one"
    )
    usable = serializers.BooleanField(read_only=True)
    last_used_at = serializers.DateTimeField(read_only=True, allow_null=True, default=None)

    class Meta:
        model = ApiKey
        fields = (
            "id",
            "name",
            "prefix",
            "scopes",
            "team",
            "team_name",
            "owner_name",
            "allowed_models",
            *QUOTA,
            "usable",
            "created_at",
            "expires_at",
            "revoked_at",
            "last_used_at",
        )
        read_only_fields = ("prefix", "created_at", "revoked_at")

    def validate_scopes(self, scopes: list[str]) -> list[str]:
        """An inference key can never manage, and whoever holds a key can rely on what it is for."""
        wanted = keys.check_scopes(scopes)
        if self.instance is not None and wanted != self.instance.scopes:
            raise serializers.ValidationError("a key keeps its scopes; make another")
        return wanted

    def validate_allowed_models(self, names: list[str]) -> list[str]:
        """Names there are now; those it had before may stay."""
        return keys.check_models(names, before=self.instance.allowed_models if self.instance else ())

    def validate_expires_at(self, moment: Any) -> Any:
        """A changed moment must lie in the future; None means that the key never expires."""
        before = self.instance.expires_at if self.instance else None
        if moment is not None and moment != before and moment <= timezone.now():
            raise serializers.ValidationError("must lie in the future; to end a key now, revoke it")
        return moment

    def update(self, instance: ApiKey, validated_data: dict[str, Any]) -> ApiKey:
        """Only the given fields are written. KeyRevoked is raised for a key that was revoked."""
        if instance.revoked_at is not None:
            raise KeyRevoked(f"{instance.name} was revoked; make another key")
        return _write(instance, validated_data)


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


class AliasTargetSerializer(serializers.ModelSerializer[AliasTarget]):
    """A deployment behind an alias; weight 0: only when the others cannot answer."""

    deployment = NamedField(queryset=Deployment.objects.all())
    deployment_name = serializers.CharField(source="deployment.name", read_only=True)
    served_name = serializers.CharField(source="deployment.served_name", read_only=True)

    class Meta:
        model = AliasTarget
        fields = ("deployment", "deployment_name", "served_name", "weight")


class AliasSerializer(serializers.ModelSerializer[Alias]):
    """Another name callers may ask for; its targets in fallback order."""

    targets = AliasTargetSerializer(many=True, allow_empty=False)

    class Meta:
        model = Alias
        fields = ("id", "name", "targets", "created_at")

    def validate_name(self, name: str) -> str:
        """A name that a deployment answers to is refused with a ValidationError."""
        return aliases.check_name(name)

    def validate_targets(self, targets: list[dict[str, Any]]) -> list[tuple[Deployment, int]]:
        """Each deployment once, and one of them to choose. A change of an alias gives its targets whole."""
        if any("deployment" not in target for target in targets):
            raise serializers.ValidationError("give each target its deployment")
        given = [(target["deployment"], target.get("weight", 1)) for target in targets]
        aliases.check_targets(given)
        return given

    @transaction.atomic
    def create(self, validated_data: dict[str, Any]) -> Alias:
        """Write the alias and its targets."""
        return self._give(Alias.objects.create(name=validated_data["name"]), validated_data)

    @transaction.atomic
    def update(self, instance: Alias, validated_data: dict[str, Any]) -> Alias:
        """Write what was given; new targets replace all the old ones."""
        if "name" in validated_data:
            _write(instance, {"name": validated_data["name"]})
        return self._give(instance, validated_data)

    def _give(self, alias: Alias, given: dict[str, Any]) -> Alias:
        if "targets" in given:
            aliases.replace_targets(alias, given["targets"])
        aliases.announce()
        return Alias.objects.prefetch_related("targets__deployment").get(pk=alias.pk)


def _write(instance: Row, changes: dict[str, Any]) -> Row:
    for field, value in changes.items():
        setattr(instance, field, value)
    instance.save(update_fields=list(changes))
    return instance
