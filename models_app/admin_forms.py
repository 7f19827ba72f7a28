"""Forms of the admin that ask the API's own serializers, so that both accept the same."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

from django import forms
from django.db.models import Model as DjangoModel
from rest_framework.serializers import BaseSerializer

from models_app.api.serializers import DeploymentSerializer, ModelSerializer, RuntimeSerializer
from models_app.errors import DeploymentLive
from models_app.models import Deployment, EngineRuntime, Model
from models_app.rows import shown


class AskingForm(forms.ModelForm):  # type: ignore[type-arg]
    """What was changed is judged by `serializer`, on the row as it is in the database."""

    serializer: ClassVar[type[BaseSerializer[Any]]]

    def clean(self) -> dict[str, Any]:
        """The API's refusals, each at its field."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        row = type(self.instance).objects.filter(pk=self.instance.pk).first()
        said = {name: _plain(cleaned[name]) for name in self.changed_data if name in cleaned}
        self.given = self.serializer(row, data=said, partial=row is not None)
        if not self.given.is_valid():
            for name, texts in dict(self.given.errors).items():
                self.add_error(name if name in self.fields else None, [str(text) for text in _flat(texts)])
        elif isinstance(self.given.validated_data, Mapping):
            cleaned |= {name: value for name, value in self.given.validated_data.items() if name in cleaned}
        return cleaned


class WeightsForm(AskingForm):
    """The form edits the name and revision of a model's weights; the API alone adds models."""

    serializer = ModelSerializer

    class Meta:
        model = Model
        fields = ("name", "revision")


class RuntimeForm(AskingForm):
    """Which executable runs an engine; secrets of its environment are hidden, and stay when they are sent back so."""

    serializer = RuntimeSerializer

    class Meta:
        model = EngineRuntime
        fields = ("name", "kind", "executable", "version", "kvcached", "environment")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["executable"].required = False  # the simulator has none
        if self.instance.pk is not None:
            self.initial["environment"] = shown(self.instance.environment)


class DeploymentForm(AskingForm):
    """The form edits a deployment, except for its name and environment, which the admin only shows."""

    serializer = DeploymentSerializer

    class Meta:
        model = Deployment
        exclude = ("name", "environment", "deleting", "created_at", "seq")  # noqa: DJ006

    def clean(self) -> dict[str, Any]:
        """Besides, engines that answer to the old served name have to stop first."""
        cleaned = super().clean()
        if isinstance(self.given, DeploymentSerializer) and self.given.is_valid():
            try:
                self.given.refuse_rename(self.given.validated_data)
            except DeploymentLive as error:
                self.add_error("served_name", error.message)
        return cleaned


def _plain(value: Any) -> Any:
    """As JSON would bring it."""
    if isinstance(value, DjangoModel):
        return value.pk
    return value.isoformat() if isinstance(value, datetime) else value


def _flat(texts: Any) -> list[Any]:
    if isinstance(texts, dict):
        return [text for inner in texts.values() for text in _flat(inner)]
    return list(texts) if isinstance(texts, list) else [texts]
