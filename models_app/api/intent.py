"""A deployment, its model and its placing in one request: all of it, or nothing is left behind."""

import re
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Q
from rest_framework import serializers

from gpus.api.serializers import GPUField
from gpus.models import GPU
from models_app import snapshot
from models_app.api import edits
from models_app.api.serializers import DeploymentSerializer, ModelSerializer, NamedField
from models_app.lifecycle import queues
from models_app.models import Deployment, Model
from models_app.policy import consent
from models_app.policy.windows import by_hand

_OWN_FIELDS = ("source", "revision", "deploy", "gpu", "evict", "roll_out", "two_phase", "until", "lasting")
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9._-]+")


class IntentSerializer(DeploymentSerializer):
    """As DeploymentSerializer; `source` names a model that may be new, and `deploy` places the replicas at once."""

    model = NamedField(queryset=Model.objects.all(), required=False)
    source = serializers.CharField(  # type: ignore[assignment]
        max_length=500, required=False, write_only=True, help_text="a model's name, folder or id; made where it is new"
    )
    revision = serializers.CharField(
        max_length=64, required=False, write_only=True, allow_blank=True, help_text="of a new model"
    )
    deploy = serializers.BooleanField(default=False, write_only=True, help_text="place its replicas in the same step")
    gpu = GPUField(required=False, allow_null=True, write_only=True, help_text="with deploy: where to place them")
    evict = serializers.BooleanField(required=False, write_only=True, help_text="with deploy: others make room for it")
    roll_out = serializers.BooleanField(
        required=False, write_only=True, help_text="give running replicas the new settings now, by copies beside them"
    )
    two_phase = serializers.BooleanField(
        required=False, write_only=True, help_text="with roll_out: where both do not fit, calls are held between them"
    )
    until = serializers.DateTimeField(
        required=False, write_only=True, help_text="how long what a window governs holds; else until its next edge"
    )
    lasting = serializers.BooleanField(
        required=False, write_only=True, help_text="change the deployment's own setting also where a window governs it"
    )

    class Meta(DeploymentSerializer.Meta):
        fields = (*DeploymentSerializer.Meta.fields, *_OWN_FIELDS)  # type: ignore[assignment]

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """With the model that `source` stands for."""
        source, revision = attrs.pop("source", None), attrs.pop("revision", "")
        if source is not None:
            attrs["model"] = _model(source, revision)
        elif self.instance is None and "model" not in attrs:
            raise serializers.ValidationError({"model": "name a model, or give the source of a new one"})
        self.deploys: bool = attrs.pop("deploy", False)
        self.lead: GPU | None = attrs.pop("gpu", None)
        self.evicts: bool = attrs.pop("evict", False)
        self.rolls_out: bool = attrs.pop("roll_out", False)
        self.in_two_phases: bool = attrs.pop("two_phase", False)
        self.holds_until: datetime | None = attrs.pop("until", None)
        self.lasts: bool = attrs.pop("lasting", False)
        return super().validate(attrs)


def write(given: IntentSerializer, *, actor: str) -> Deployment:
    """Write down what was given, in the caller's transaction, and place its replicas where that was asked for."""
    before = None if given.instance is None else edits.values(given.instance)
    if given.instance is not None and not given.lasts:
        told = given.validated_data
        left = by_hand.edit(given.instance, dict(told), actor=actor, until=given.holds_until)
        for name in told.keys() - left.keys():
            del told[name]
    written = given.save()
    if before is not None:
        edits.record(written, before, actor=actor)
    snapshot.publish_deployment(written.pk, written.seq)
    if given.deploys:
        consent.deploy(written, actor=actor, gpu=given.lead, evict=given.evicts)
        written.refresh_from_db()
    if given.rolls_out:
        consent.roll_out(written, actor=actor, evict=given.evicts, two_phase=given.in_two_phases)
    transaction.on_commit(queues.poke_control)
    return written


def _model(source: str, revision: str) -> Model:
    """The model of this name or source, made if there is none."""
    name = _NOT_IN_A_NAME.sub("-", source.rstrip("/").rpartition("/")[2]).strip("-._")[:63]
    new = ModelSerializer(data={"name": name, "source": source, "revision": revision})
    resolved = new.validate_source(source)
    known = Model.objects.filter(Q(name=source) | Q(source__in=(source, resolved)))
    found = (known.filter(revision=revision) if revision else known).first()
    if found is not None:
        return found
    if not new.is_valid():
        raise serializers.ValidationError({"source": [text for texts in new.errors.values() for text in texts]})
    return Model.objects.get(pk=new.save().pk)
