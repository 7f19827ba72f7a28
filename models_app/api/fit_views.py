"""GET /api/deployments/fit and /api/replicas/{id}/fit: where something would fit, before it is asked for."""

from typing import Any

from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from models_app.api.serializers import NamedField, RowSerializer, check_extra_args, only_runtime
from models_app.api.verb_serializers import PlaceSerializer
from models_app.catalogue import sources
from models_app.memory import fit
from models_app.models import Deployment, EngineRuntime, Model, Replica
from models_app.policy import consent

_TOLD = ("extra_args", "max_model_len", "tensor_parallel", "weights_bytes", "overhead_bytes", "kv_floor_bytes")


class FitSerializer(RowSerializer):
    """What is needed, and each GPU's answer."""

    row = fit.Fit


class DraftSerializer(PlaceSerializer):
    """A deployment as a form has it so far: of a model that is known, or of a source that may become one."""

    deployment = NamedField(queryset=Deployment.objects.all(), required=False, help_text="the one that is edited")
    model = NamedField(queryset=Model.objects.all(), required=False)
    source = serializers.CharField(  # type: ignore[assignment]  # DRF takes fields out of the class
        max_length=500, required=False, help_text="instead of a model"
    )
    revision = serializers.CharField(max_length=64, required=False, allow_blank=True)
    runtime = NamedField(queryset=EngineRuntime.objects.all(), required=False, help_text="optional if there is one")
    replicas = serializers.IntegerField(default=1, min_value=0, max_value=64, help_text="how many more")
    extra_args = serializers.ListField(child=serializers.CharField(max_length=512), required=False, max_length=128)
    max_model_len = serializers.IntegerField(required=False, min_value=1, max_value=2**31 - 1)
    tensor_parallel = serializers.IntegerField(required=False, min_value=1, max_value=2**15 - 1)
    weights_bytes = serializers.IntegerField(required=False, min_value=1, max_value=2**60)
    overhead_bytes = serializers.IntegerField(required=False, min_value=1, max_value=2**60)
    kv_floor_bytes = serializers.IntegerField(required=False, min_value=1, max_value=2**60)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """It must be said of which model."""
        if not {"deployment", "model", "source"} & set(attrs):
            raise serializers.ValidationError({"model": "choose a model, or give a source"})
        known: Deployment | None = attrs.get("deployment")
        runtime = attrs.get("runtime") or (known.runtime if known else only_runtime())
        check_extra_args(attrs.get("extra_args", []), runtime)
        return attrs


def drafted(given: dict[str, Any]) -> Deployment:
    """The deployment as it would be, not written down; what the form leaves open is as in a new one."""
    known: Deployment | None = given.get("deployment")
    runtime = given.get("runtime") or (known.runtime if known else only_runtime())
    model: Model | None = given.get("model") or (known.model if known else None)
    if "source" in given:
        model = _model(given["source"], given.get("revision", ""))
    told = {field: given[field] for field in _TOLD if field in given}
    return Deployment(pk=known.pk if known else None, model=model, runtime=runtime, **told)


def _model(source: str, revision: str) -> Model:
    folder = sources.local(source)
    return Model(source=str(folder or source), revision=revision, facts=sources.facts(source, revision))


class DeploymentFitView(APIView):
    """What a deployment would need, and where it would fit."""

    @extend_schema(parameters=[DraftSerializer], responses=FitSerializer)
    def get(self, request: Request) -> Response:
        """Bytes that one replica needs on each of its GPUs, and each GPU's answer. Nothing is written."""
        given = DraftSerializer(data=request.query_params)
        given.is_valid(raise_exception=True)
        told = given.validated_data
        draft, gpu = drafted(told), told.get("gpu")
        return Response(consent.of_deployment(fit.of_deployment(draft, replicas=told["replicas"], gpu=gpu), draft, gpu))


class MoveFitView(APIView):
    """Where a replica could move."""

    @extend_schema(responses=FitSerializer)
    def get(self, request: Request, pk: int) -> Response:
        """Bytes that its copy needs on each of its GPUs, and each GPU's answer. Nothing is written."""
        found = Replica.objects.select_related("deployment__model", "deployment__runtime").filter(pk=pk).first()
        if found is None:
            raise Http404(f"there is no replica {pk}")
        return Response(consent.of_move(fit.of_move(found), found))
