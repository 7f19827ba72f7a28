"""What the API accepts, field by field, and the shapes it answers with. Answers are made by `rows`."""

import re
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

from django.core.exceptions import ValidationError as RowError
from django.db.models import Model as DjangoModel
from django.db.models import QuerySet
from drf_spectacular.extensions import OpenApiSerializerExtension, OpenApiSerializerFieldExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import resolve_type_hint
from drf_spectacular.utils import Direction
from rest_framework import serializers

from models_app import compatibility
from models_app.catalogue import hub, sources
from models_app.engines import reserved
from models_app.errors import DeploymentLive
from models_app.models import Deployment, EngineRuntime, Model
from models_app.policy.lanes import Lanes
from models_app.policy_rows import LABEL
from models_app.rows import HIDDEN, DeploymentRow, LaunchRow, ReplicaRow, TransitionRow, shown
from models_app.snapshot import Snapshot
from models_app.states import State
from models_app.traffic import names
from sardeenz.errors import InvalidSpec
from sardeenz.labels import label

OWN_VARIABLES = frozenset(
    {
        "CUDA_VISIBLE_DEVICES",
        "ENABLE_KVCACHED",
        "KVCACHED_AUTOPATCH",
        "KVCACHED_IPC_NAME",
        "VLLM_API_KEY",
        "VLLM_SERVER_DEV_MODE",
    }
)
LOADER_VARIABLES = frozenset({"LD_PRELOAD", "LD_LIBRARY_PATH", "PATH", "PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP"})
LONGEST_NAME = 253
_VARIABLE = re.compile(r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")


class RowSerializer(serializers.BaseSerializer[Any]):
    """An answer that is a row already: the schema is read from its TypedDict, the row passes as it is."""

    row: ClassVar[type]

    def to_representation(self, instance: Any) -> Any:
        return instance


class RowSchema(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]
    """Describes a RowSerializer by its TypedDict, under the TypedDict's name."""

    target_class = RowSerializer
    match_subclasses = True

    def get_name(self, auto_schema: AutoSchema, direction: Direction) -> str:
        """The schema names the component after the TypedDict, for example ReplicaRow."""
        return str(self.target.row.__name__)

    def map_serializer(self, auto_schema: AutoSchema, direction: Direction) -> dict[str, Any]:
        """The TypedDict's fields, all of them present."""
        schema: dict[str, Any] = resolve_type_hint(self.target.row)  # type: ignore[no-untyped-call]
        return schema


class DeploymentRowSerializer(RowSerializer):
    """A deployment is the intent to serve a model; `rows.deployment_row` makes the row."""

    row = DeploymentRow


class ReplicaRowSerializer(RowSerializer):
    """A replica is one placed copy of a deployment; `rows.replica_row` makes the row."""

    row = ReplicaRow


class TransitionRowSerializer(RowSerializer):
    """What happened to a replica."""

    row = TransitionRow


class LanesSerializer(RowSerializer):
    """How the replicas of a deployment stood over time."""

    row = Lanes


class LaunchSerializer(RowSerializer):
    """How a replica's engine is started."""

    row = LaunchRow


class SnapshotSerializer(RowSerializer):
    """A snapshot holds all nodes, GPUs, deployments and replicas at one moment."""

    row = Snapshot


class NamedField(serializers.RelatedField[Any, Any, Any]):
    """A row by its id or by the name people know it by; shown by id."""

    default_error_messages = {"unknown": "there is no {what} {given!r}", "invalid": "give an id or a name"}

    def use_pk_only_optimization(self) -> bool:
        """Its id is all that is shown."""
        return True

    def to_internal_value(self, data: Any) -> DjangoModel:
        """A name is looked up before an id; a ValidationError says that neither was found."""
        if not _may_name(data):
            self.fail("invalid")
        rows: QuerySet[Any] = self.get_queryset()  # type: ignore[assignment]
        by_name = rows.filter(name=data) if isinstance(data, str) else rows.none()
        found: DjangoModel | None = by_name.first()
        if found is None and str(data).isascii() and str(data).isdigit() and len(str(data)) < 19:
            found = rows.filter(pk=int(data)).first()
        if found is None:
            self.fail("unknown", what=rows.model._meta.verbose_name, given=data)
        return found

    def to_representation(self, value: Any) -> Any:
        return value.pk


def _may_name(data: Any) -> bool:
    """Whether it could be an id or a name at all."""
    if isinstance(data, str):
        return len(data) <= LONGEST_NAME and "\0" not in data
    return isinstance(data, int) and not isinstance(data, bool) and 0 <= data < 2**63


class NamedFieldSchema(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]
    """An id or a name is taken, an id is shown."""

    target_class = NamedField

    def map_serializer_field(self, auto_schema: AutoSchema, direction: Direction) -> dict[str, Any]:
        """An answer holds an integer; a request may hold an integer or a string."""
        if direction == "response":
            return {"type": "integer"}
        return {"oneOf": [{"type": "integer"}, {"type": "string"}], "description": "an id or a name"}


class ModelSerializer(serializers.ModelSerializer[Model]):
    """Weights. A source that is a folder must be inside the models directory."""

    class Meta:
        model = Model
        fields = ("id", "name", "source", "revision", "facts", "created_at")
        read_only_fields = ("id", "facts", "created_at")

    def validate_source(self, source: str) -> str:
        """A hub id as it is, a folder as its real path."""
        return str(found) if (found := _folder(source)) else source

    def create(self, validated_data: dict[str, Any]) -> Model:
        """Read the facts of a local folder, or ask the Hub for those of a model there."""
        found = _facts(validated_data["source"], validated_data.get("revision") or "")
        return super().create(validated_data | {"facts": found})

    def update(self, instance: Model, validated_data: dict[str, Any]) -> Model:
        """Write what was given; another source has other facts."""
        if {"source", "revision"} & set(validated_data):
            source = validated_data.get("source", instance.source)
            validated_data["facts"] = _facts(source, validated_data.get("revision", instance.revision) or "")
        _write(instance, validated_data)
        return instance


def _folder(source: str) -> Path | None:
    try:
        return sources.local(source)
    except InvalidSpec as error:
        raise serializers.ValidationError(error.message) from error


def _facts(source: str, revision: str) -> dict[str, Any]:
    try:
        return sources.facts(source, revision)
    except InvalidSpec as error:
        raise serializers.ValidationError({"source": [error.message]}) from error


class RuntimeSerializer(serializers.ModelSerializer[EngineRuntime]):
    """Which executable and environment run an engine."""

    environment = serializers.DictField(child=serializers.CharField(max_length=4096, allow_blank=True), required=False)

    def validate_environment(self, environment: dict[str, str]) -> dict[str, str]:
        """A runtime may change where programs and libraries are found, but not what Sardeenz sets."""
        return _checked_variables(environment, OWN_VARIABLES, getattr(self.instance, "environment", None))

    def to_representation(self, instance: EngineRuntime) -> dict[str, Any]:
        """Values of variables whose names look like secrets are replaced in the answer."""
        return super().to_representation(instance) | {"environment": shown(instance.environment)}

    class Meta:
        model = EngineRuntime
        fields = ("id", "name", "kind", "executable", "version", "kvcached", "environment")
        extra_kwargs = {"executable": {"allow_blank": True, "required": False}}

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Only the simulator has an executable of its own."""
        kind = attrs.get("kind", getattr(self.instance, "kind", None))
        executable = attrs.get("executable", getattr(self.instance, "executable", ""))
        if kind != EngineRuntime.Kind.SIMULATOR and not Path(executable).is_absolute():
            raise serializers.ValidationError({"executable": "give the absolute path of the vllm command"})
        return attrs

    def update(self, instance: EngineRuntime, validated_data: dict[str, Any]) -> EngineRuntime:
        """Only the given fields are written, so that a change of other fields at the same time is kept."""
        _write(instance, validated_data)
        hub.forget()  # a refusal of the Hub may have been for want of this token
        return instance


class DeploymentSerializer(serializers.ModelSerializer[Deployment]):
    """The intent as an operator writes it. A change takes effect at the next start of a replica."""

    served_name = serializers.CharField(max_length=200, required=False, help_text="what clients ask for; else the name")
    model = NamedField(queryset=Model.objects.all())
    runtime = NamedField(queryset=EngineRuntime.objects.all(), required=False, help_text="optional if there is one")
    extra_args = serializers.ListField(child=serializers.CharField(max_length=512), required=False, max_length=128)
    environment = serializers.DictField(child=serializers.CharField(max_length=4096, allow_blank=True), required=False)
    idle_sleep_seconds = serializers.FloatField(required=False, allow_null=True, min_value=1)
    idle_level_2_seconds = serializers.FloatField(required=False, allow_null=True, min_value=1)
    idle_stop_seconds = serializers.FloatField(required=False, allow_null=True, min_value=1)
    min_resident_seconds = serializers.FloatField(required=False, allow_null=True, min_value=0)
    labels = serializers.DictField(child=serializers.CharField(max_length=63), required=False)
    weights_bytes = serializers.IntegerField(required=False, allow_null=True, min_value=1, max_value=2**60)
    overhead_bytes = serializers.IntegerField(required=False, allow_null=True, min_value=1, max_value=2**60)
    kv_floor_bytes = serializers.IntegerField(required=False, allow_null=True, min_value=1, max_value=2**60)
    kv_cap_bytes = serializers.IntegerField(required=False, allow_null=True, min_value=1, max_value=2**60)

    class Meta:
        model = Deployment
        fields = (
            "name",
            "served_name",
            "model",
            "runtime",
            "extra_args",
            "environment",
            "max_model_len",
            "tensor_parallel",
            "sleep_enabled",
            "idle_sleep_seconds",
            "idle_level_2_seconds",
            "idle_stop_seconds",
            "min_resident_seconds",
            "labels",
            "replicas",
            "priority",
            "pinned",
            "max_concurrency",
            "queue_limit",
            "queue_seconds",
            "prefix_affinity",
            "capture_until",
            "weights_bytes",
            "overhead_bytes",
            "kv_floor_bytes",
            "kv_cap_bytes",
            "kv_weight",
            "ignore_known_problems",
        )

    def validate_name(self, name: str) -> str:
        """Logs and engines carry the name, so it stays."""
        if self.instance is not None and name != self.instance.name:
            raise serializers.ValidationError("a deployment keeps its name; its served name may change")
        return name

    def validate_environment(self, environment: dict[str, str]) -> dict[str, str]:
        """Neither what Sardeenz sets nor what would make the engine another program."""
        before = getattr(self.instance, "environment", None)
        return _checked_variables(environment, OWN_VARIABLES | LOADER_VARIABLES, before)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """What one field cannot tell alone."""
        if self.instance is None:
            attrs.setdefault("served_name", attrs["name"])
            attrs["runtime"] = attrs.get("runtime") or only_runtime()
        for check in (_check_served_name, _check_engine, _check_kv, _check_labels, _check_idle):
            check(self.instance, attrs)
        compatibility.check_written(self.instance, attrs)
        return attrs

    def refuse_rename(self, validated_data: dict[str, Any]) -> None:
        """Raise DeploymentLive where engines would still answer to the old served name."""
        row: Deployment = self.instance  # type: ignore[assignment]
        renamed = validated_data.get("served_name", row.served_name) != row.served_name
        if renamed and row.placed.exclude(state=State.STOPPED).exists():
            raise DeploymentLive("engines still answer to the old served name; stop them first", field="served_name")

    def update(self, instance: Deployment, validated_data: dict[str, Any]) -> Deployment:
        """Write what was given. Live engines answer to the old served name, so it waits for them to stop."""
        self.refuse_rename(validated_data)
        _write(instance, validated_data | {"seq": instance.seq + 1} if validated_data else {})
        return instance


def _checked_variables(
    environment: dict[str, str], refused: frozenset[str], before: dict[str, str] | None
) -> dict[str, str]:
    """The variables, each hidden value put back as it was."""
    known = before or {}
    restored = {name: known.get(name, value) if value == HIDDEN else value for name, value in environment.items()}
    for name, value in restored.items():
        if not _VARIABLE.match(name) or "\0" in value:
            raise serializers.ValidationError(f"{name!r} cannot be a variable")
        if name in refused or name.startswith("SARDEENZ_"):
            raise serializers.ValidationError(f"{name} is not the deployment's to set")
    return restored


def _write(instance: Any, changes: dict[str, Any]) -> None:
    for field, value in changes.items():
        setattr(instance, field, value)
    instance.save(update_fields=list(changes))


def only_runtime() -> EngineRuntime:
    """The runtime nobody needs to name. Raises ValidationError when there is none, or more than one."""
    found = list(EngineRuntime.objects.all()[:2])
    if len(found) == 1:
        return found[0]
    raise serializers.ValidationError({"runtime": "there is more than one; name it" if found else "there is none yet"})


def _check_served_name(instance: Deployment | None, attrs: dict[str, Any]) -> None:
    """Clients may use either name of a deployment, so neither may be another's, nor an alias."""
    name = instance.name if instance is not None else attrs["name"]
    served = attrs.get("served_name", name)
    others = Deployment.objects.exclude(pk=instance.pk) if instance is not None else Deployment.objects.all()
    if "served_name" in attrs:
        field = Deployment._meta.get_field("served_name")
        try:
            field.run_validators(served)
        except RowError as error:
            raise serializers.ValidationError({"served_name": error.messages}) from error
        if others.filter(served_name=served).exists() or others.filter(name=served).exists():
            raise serializers.ValidationError({"served_name": f"another deployment answers to {served!r}"})
        if names.is_taken(served):
            raise serializers.ValidationError({"served_name": f"{served!r} is an alias; choose another or delete that"})
    if instance is None and (others.filter(served_name=name).exists() or names.is_taken(name)):
        raise serializers.ValidationError({"name": f"another deployment or an alias answers to {name!r}"})


def _check_engine(instance: Deployment | None, attrs: dict[str, Any]) -> None:
    """The engine's kind decides which flags and degrees there are."""
    runtime: EngineRuntime = attrs.get("runtime") or instance.runtime  # type: ignore[union-attr]
    extra_args = attrs.get("extra_args", instance.extra_args if instance is not None else [])
    check_extra_args(extra_args, runtime)
    degree = attrs.get("tensor_parallel", instance.tensor_parallel if instance is not None else 1)
    if degree > 1 and runtime.kind == EngineRuntime.Kind.VLLM_CPU:
        raise serializers.ValidationError({"tensor_parallel": "vLLM on a CPU runs on one device"})


def check_extra_args(extra_args: list[str], runtime: EngineRuntime) -> None:
    """Refuse the engine's flags that are Sardeenz's own. Raises ValidationError."""
    try:
        reserved.check_extra_args(extra_args, runtime.kind)
    except InvalidSpec as error:
        raise serializers.ValidationError({"extra_args": error.message}) from error


def _check_kv(instance: Deployment | None, attrs: dict[str, Any]) -> None:
    floor = attrs.get("kv_floor_bytes", getattr(instance, "kv_floor_bytes", None))
    cap = attrs.get("kv_cap_bytes", getattr(instance, "kv_cap_bytes", None))
    if floor is not None and cap is not None and cap < floor:
        raise serializers.ValidationError({"kv_cap_bytes": "must not be below the KV floor"})


def _check_labels(instance: Deployment | None, attrs: dict[str, Any]) -> None:
    for key, value in attrs.get("labels", {}).items():
        try:
            LABEL(f"{key}={value}")
        except RowError as error:
            raise serializers.ValidationError({"labels": [f"{key}={value}: {error.messages[0]}"]}) from error


def _check_idle(instance: Deployment | None, attrs: dict[str, Any]) -> None:
    """Each step down comes later than the one before."""
    steps = ("idle_sleep_seconds", "idle_level_2_seconds", "idle_stop_seconds")
    said = [(name, attrs.get(name, getattr(instance, name, None))) for name in steps]
    known = [(name, value) for name, value in said if value is not None]
    for (earlier, sooner), (name, later) in pairwise(known):
        if later <= sooner:
            raise serializers.ValidationError({name: f"must be longer than `{label(earlier)}`, {sooner:g} s"})
