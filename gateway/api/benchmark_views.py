"""/api/benchmarks: ask for a measurement, follow it, cancel it, take its figures away."""

from collections.abc import Iterator
from typing import Any, TypedDict

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.api.benchmark_serializers import (
    BenchmarkDetailSerializer,
    BenchmarkRowSerializer,
    ConditionsSerializer,
    NewBenchmarkSerializer,
)
from gateway.api.csv_download import TableViewSet
from gateway.benchmark import book, shown
from gateway.benchmark.load.conditions import Condition, value_of
from gateway.benchmark.load.figures import TIMES
from gateway.errors import NoResult
from gateway.models import BenchmarkRun
from models_app.api.serializers import RowSerializer
from models_app.api.views import actor
from sardeenz.errors import Conflict

STATISTICS = ("p50", "p90", "p95", "p99", "max", "mean")
SUMS = ("calls", "ok", "requests_per_second", "output_tokens_per_second", "prompt_tokens", "completion_tokens")
HEADER = ("deployment", "role", *SUMS, "failed", *(f"{name}_{each}_seconds" for name in TIMES for each in STATISTICS))


class Verdict(TypedDict):
    """Which conditions hold, and of which stream."""

    holds: bool
    lines: list[str]


class VerdictSerializer(RowSerializer):
    """Whether each condition holds for a result, as a program in CI asks it."""

    row = Verdict


class BenchmarkQuerySerializer(serializers.Serializer[Any]):
    """The query narrows benchmarks by status and deployment."""

    status = serializers.ChoiceField(choices=BenchmarkRun.Status.choices, required=False)
    deployment = serializers.CharField(required=False)


class BenchmarkViewSet(TableViewSet):
    """What the fleet can do, measured."""

    queryset = BenchmarkRun.objects.all()
    serializer_class = BenchmarkRowSerializer
    lookup_value_regex = r"\d{1,18}"

    @extend_schema(parameters=[BenchmarkQuerySerializer], responses=BenchmarkRowSerializer(many=True))
    def list(self, request: Request) -> Response:
        """The newest come first, without their results."""
        given = BenchmarkQuerySerializer(data=request.query_params)
        given.is_valid(raise_exception=True)
        runs = self.get_queryset().defer("result", "environment")
        if status := given.validated_data.get("status"):
            runs = runs.filter(status=status)
        if name := given.validated_data.get("deployment"):
            runs = runs.filter(deployments__contains=[name])
        page = self.paginate_queryset(runs) or []
        return self.get_paginated_response([shown.row(run) for run in page])

    @extend_schema(
        responses={(200, "application/json"): BenchmarkDetailSerializer, (200, "text/csv"): OpenApiResponse(bytes)}
    )
    def retrieve(self, request: Request, pk: str) -> Any:
        """One benchmark with its result; as CSV one line for each stream."""
        run = self.get_object()
        if self.wants_csv():
            return self.download(f"benchmark-{run.pk}", HEADER, _lines(run))
        return Response(shown.detail(run))

    @extend_schema(request=NewBenchmarkSerializer, responses={201: BenchmarkRowSerializer})
    def create(self, request: Request) -> Response:
        """Ask for a measurement; it begins at once, in a process of its own."""
        given = NewBenchmarkSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        asked = given.validated_data
        marks = {name: asked.get(name, False) for name in ("beside", "metered", "keeps_awake")}
        run = book.make(given.plan(), actor=actor(request), name=asked.get("name", ""), **marks, **given.kind())
        return Response(shown.row(run), status=201)

    def destroy(self, request: Request, pk: str) -> Response:
        """Forget a benchmark that has ended."""
        run = self.get_object()
        if run.is_open:
            raise Conflict(f"benchmark {run.pk} has not ended: cancel it first")
        run.delete()
        return Response(status=204)

    @extend_schema(request=None, responses={202: BenchmarkRowSerializer})
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        """End it; what was measured until then is kept."""
        return Response(shown.row(book.cancel(self.get_object())), status=202)

    @extend_schema(parameters=[ConditionsSerializer], responses=VerdictSerializer)
    @action(detail=True, methods=["get"])
    def verdict(self, request: Request, pk: str) -> Response:
        """Whether any of these conditions holds for any stream of the load."""
        run = self.get_object()
        given = ConditionsSerializer(data=request.query_params)
        given.is_valid(raise_exception=True)
        asked = given.validated_data.get("condition", [])
        lines = [line for each in _streams(run) if each["role"] == "load" for line in _held(each, asked)]
        return Response(Verdict(holds=bool(lines), lines=lines))


def _held(stream: dict[str, Any], asked: list[Condition]) -> Iterator[str]:
    for condition in asked:
        if condition.holds(stream["figures"]):
            value = value_of(condition.figure, stream["figures"])
            told = "never" if value == float("inf") else f"{value:.4g}"
            yield f"{stream['deployment']}: {condition.figure} is {told}, so {condition} holds"


def _streams(run: BenchmarkRun) -> list[dict[str, Any]]:
    """Those of a result. Raises NoResult."""
    if run.result is None:
        raise NoResult(
            f"benchmark {run.pk} is {run.status} and has no result" + (f": {run.message}" if run.message else "")
        )
    return list(run.result["streams"])


def _lines(run: BenchmarkRun) -> Iterator[list[Any]]:
    for stream in _streams(run):
        figures = stream["figures"]
        times = [figures["times"][name][each] for name in TIMES for each in STATISTICS]
        failed = sum(figures["failed"].values())
        yield [stream["deployment"], stream["role"], *(figures[name] for name in SUMS), failed, *times]
