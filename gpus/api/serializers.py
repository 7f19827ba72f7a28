"""Nodes and GPUs as the API shows them."""

from copy import copy
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import F
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from gpus import cordon
from gpus.cordon import Cordon, cordon_row
from gpus.finding import find
from gpus.models import GPU, Node
from sardeenz.errors import InvalidSpec


@extend_schema_field(
    {"oneOf": [{"type": "integer"}, {"type": "string"}], "description": "an index, node/index or UUID"}
)
class GPUField(serializers.Field[Any, Any, Any, Any]):
    """A GPU as people name it."""

    def to_internal_value(self, data: Any) -> GPU:
        """The GPU is found by index, node/index or UUID; anything that names no single GPU is a ValidationError."""
        if isinstance(data, bool) or not isinstance(data, int | str):
            raise serializers.ValidationError("give an index, node/index or UUID")
        try:
            return find(data)
        except InvalidSpec as error:
            raise serializers.ValidationError(error.message) from error

    def to_representation(self, value: GPU) -> str:
        """A GPU is shown by its UUID, because an index may change when devices come or go."""
        return value.uuid


class NodeSerializer(serializers.ModelSerializer[Node]):
    """A node is a host with GPUs; all sizes are of the host's RAM, not of GPU memory."""

    class Meta:
        model = Node
        fields = (
            "id",
            "seq",
            "name",
            "address",
            "simulated",
            "driver_version",
            "memory_bytes",
            "sleep_budget_bytes",
            "seen_at",
        )
        read_only_fields = fields


class GPUSerializer(serializers.ModelSerializer[GPU]):
    """A device; an operator may change `enabled` and `headroom_bytes`."""

    node_name = serializers.CharField(source="node.name", read_only=True)
    cordon = serializers.SerializerMethodField()

    class Meta:
        model = GPU
        fields = (
            "id",
            "seq",
            "uuid",
            "node",
            "node_name",
            "index",
            "name",
            "memory_bytes",
            "headroom_bytes",
            "compute_capability",
            "parent_uuid",
            "simulated",
            "enabled",
            "cordon",
            "present",
        )
        read_only_fields = tuple(field for field in fields if field not in ("enabled", "headroom_bytes"))

    def get_cordon(self, gpu: GPU) -> Cordon | None:
        """Who cordoned it and why; null for one that takes new replicas."""
        return cordon_row(gpu)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """The row's own rules, on the row as it would become."""
        if self.instance is not None:
            wanted = copy(self.instance)
            for field, value in attrs.items():
                setattr(wanted, field, value)
            try:
                wanted.clean()
            except ValidationError as error:
                raise serializers.ValidationError(error.message_dict) from error
        return attrs

    def update(self, instance: GPU, validated_data: dict[str, Any]) -> GPU:
        """Write only what was given, and let `seq` grow."""
        enabled = validated_data.pop("enabled", None)
        if validated_data:
            GPU.objects.filter(pk=instance.pk).update(**validated_data, seq=F("seq") + 1)
        if enabled is not None:
            by = self.context["request"].user.get_username()
            cordon.uncordon([instance], by=by) if enabled else cordon.cordon([instance], by=by)
        instance.refresh_from_db()
        return instance
