"""What the API of the configuration takes and answers."""

from typing import Any, TypedDict

from rest_framework import serializers

from models_app.api.serializers import RowSerializer
from models_app.policy.plans.outcome import Outcome
from sardeenz.configuration.document import MOST_CHARACTERS
from sardeenz.configuration.models import ConfigurationVersion


class ConfigurationRow(TypedDict):
    """The configuration as YAML, complete, with the version that it is."""

    version: int
    document: str


class ConfigurationChangeRow(TypedDict):
    """One object that is made, changed or deleted, in words."""

    section: str
    name: str
    verb: str
    fields: list[str]
    title: str
    sentences: list[str]


class ConfigurationPlanRow(TypedDict):
    """What a document changes; `plan` names exactly this, for whoever applies what was shown.

    `effects` is what the fleet would do; null where nothing is changed, and after it was applied.
    """

    version: int
    base: int | None
    plan: str
    changes: list[ConfigurationChangeRow]
    notes: list[str]
    restarts: list[str]
    effects: Outcome | None


class ConfigurationSerializer(RowSerializer):
    """The configuration as a file, and the version it is of."""

    row = ConfigurationRow


class PlanSerializer(RowSerializer):
    """What is changed, or would be."""

    row = ConfigurationPlanRow


class DocumentSerializer(serializers.Serializer[Any]):
    """A document, and how it is to be taken."""

    document = serializers.CharField(max_length=MOST_CHARACTERS, trim_whitespace=False, help_text="YAML")
    base = serializers.CharField(
        max_length=32, required=False, allow_blank=True, help_text="the version it was made from, instead of its own"
    )
    prune = serializers.BooleanField(
        default=False, help_text="in each section of the document, delete what it does not name"
    )


class ApplySerializer(DocumentSerializer):
    """As for a plan; with `plan` nothing but what that plan showed is done."""

    plan = serializers.CharField(max_length=32, required=False, allow_blank=True)


class RollbackSerializer(serializers.Serializer[Any]):
    """With `dry_run` it is only shown; with `plan` nothing but what was shown is done."""

    dry_run = serializers.BooleanField(default=False)
    plan = serializers.CharField(max_length=32, required=False, allow_blank=True)


class VersionSerializer(serializers.ModelSerializer[ConfigurationVersion]):
    """A version, with what changed in it."""

    class Meta:
        model = ConfigurationVersion
        fields = ("number", "author", "applied", "at", "base", "diff")


class WholeVersionSerializer(VersionSerializer):
    """A version with all of its document."""

    class Meta(VersionSerializer.Meta):
        fields = (*VersionSerializer.Meta.fields, "document")  # type: ignore[assignment]
