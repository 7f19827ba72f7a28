"""Nodes, GPUs and frames as the API shows them."""

from copy import copy
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import F
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

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
            "memory_bytes",
            "sleep_budget_bytes",
            "seen_at",
        )
        read_only_fields = fields


class GPUSerializer(serializers.ModelSerializer[GPU]):
    """A device; an operator may change `enabled` and `headroom_bytes`."""

    node_name = serializers.CharField(source="node.name", read_only=True)

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
            "present",
        )
        read_only_fields = tuple(field for field in fields if field not in ("enabled", "headroom_bytes"))

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
        if validated_data:
            GPU.objects.filter(pk=instance.pk).update(**validated_data, seq=F("seq") + 1)
            instance.refresh_from_db()
        return instance


class HostFrameSerializer(serializers.Serializer[Any]):
    """These are the sizes of the host's RAM at the time of the frame."""

    memory_total_bytes = serializers.IntegerField()
    memory_available_bytes = serializers.IntegerField()


class ProcessFrameSerializer(serializers.Serializer[Any]):
    """A process on a device; `marker` is null for a foreign one."""

    pid = serializers.IntegerField()
    memory_bytes = serializers.IntegerField(allow_null=True)
    marker = serializers.CharField(allow_null=True)


class GPUFrameSerializer(serializers.Serializer[Any]):
    """What a device does now."""

    uuid = serializers.CharField()
    index = serializers.IntegerField()
    name = serializers.CharField()
    parent_uuid = serializers.CharField(allow_blank=True)
    memory_total_bytes = serializers.IntegerField()
    memory_used_bytes = serializers.IntegerField()
    utilization_ratio = serializers.FloatField(allow_null=True)
    temperature_celsius = serializers.FloatField(allow_null=True)
    power_watts = serializers.FloatField(allow_null=True)
    power_limit_watts = serializers.FloatField(allow_null=True)
    processes = ProcessFrameSerializer(many=True)


class SegmentFrameSerializer(serializers.Serializer[Any]):
    """The KV memory of one engine, per GPU of it."""

    ipc_name = serializers.CharField()
    limit_bytes = serializers.IntegerField()
    used_bytes = serializers.IntegerField()
    prealloc_bytes = serializers.IntegerField()


class EngineFrameSerializer(serializers.Serializer[Any]):
    """A live engine; null where it did not say. `memory_bytes` is by GPU UUID."""

    marker = serializers.CharField()
    replica_id = serializers.IntegerField()
    generation = serializers.IntegerField()
    pid = serializers.IntegerField()
    memory_bytes = serializers.DictField(child=serializers.IntegerField(allow_null=True))
    running = serializers.IntegerField(allow_null=True)
    waiting = serializers.IntegerField(allow_null=True)
    kv_usage_ratio = serializers.FloatField(allow_null=True)
    prompt_tokens = serializers.IntegerField(allow_null=True)
    generation_tokens = serializers.IntegerField(allow_null=True)
    tokens_per_second = serializers.FloatField(allow_null=True)
    sleeping = serializers.BooleanField(allow_null=True)


class FrameSerializer(serializers.Serializer[Any]):
    """One node at one instant."""

    seq = serializers.IntegerField()
    at = serializers.DateTimeField()
    node = serializers.CharField()
    simulated = serializers.BooleanField()
    host = HostFrameSerializer()
    gpus = GPUFrameSerializer(many=True)
    segments = SegmentFrameSerializer(many=True)
    engines = EngineFrameSerializer(many=True)
