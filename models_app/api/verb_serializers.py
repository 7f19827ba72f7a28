"""What the verbs take beside what they act on, and what is asked of a log."""

from typing import Any

from rest_framework import serializers

from gpus.api.serializers import GPUField


class EvictSerializer(serializers.Serializer[Any]):
    """Whether others may make room; a refusal's `evictable` says who would have to."""

    evict = serializers.BooleanField(default=False, help_text="others make room, as far as the rules allow")


class UntilSerializer(serializers.Serializer[Any]):
    """How long a verb holds where a window says otherwise."""

    until = serializers.DateTimeField(required=False, help_text="else the windows' next edge")


class StartSerializer(EvictSerializer, UntilSerializer):
    """Whether others may make room, and how long it holds against windows."""


class PlaceSerializer(serializers.Serializer[Any]):
    """Where to place; without a GPU the one with the most room is taken."""

    gpu = GPUField(required=False, allow_null=True)


class DeploySerializer(PlaceSerializer, StartSerializer):
    """Where to place, and whether others may make room there."""


class RollOutSerializer(EvictSerializer):
    """Whether others may make room for the copies, or each replica for its own."""

    two_phase = serializers.BooleanField(default=False, help_text="where both do not fit, calls are held between them")


class MoveSerializer(RollOutSerializer):
    """The body names the GPU on which the copy of the replica is placed."""

    gpu = GPUField()


class SleepSerializer(UntilSerializer):
    """Level 1 keeps the weights in host RAM, level 2 drops them."""

    level = serializers.ChoiceField(choices=[1, 2], default=1)


class LogQuerySerializer(serializers.Serializer[Any]):
    """Which part of which log."""

    lines = serializers.IntegerField(default=500, min_value=1, max_value=10_000)
    generation = serializers.IntegerField(required=False, min_value=1, help_text="of an earlier start; else the latest")


class LogSerializer(serializers.Serializer[Any]):
    """The end of an engine's log."""

    replica = serializers.IntegerField()
    generation = serializers.IntegerField()
    lines = serializers.ListField(child=serializers.CharField())
