"""What may be asked of a benchmark, and how one is shown."""

from typing import Any, get_args

import msgspec
from rest_framework import serializers

from gateway.benchmark.drills.drill import Drill, Kind
from gateway.benchmark.load import conditions, traces
from gateway.benchmark.load.plan import Plan, Stream
from gateway.benchmark.load.searching import Bounds
from gateway.benchmark.shown import BenchmarkDetail, BenchmarkRow
from models_app.api.serializers import RowSerializer
from models_app.models import Deployment

MOST_TOKENS = 1_000_000
CYCLES: dict[Kind, int] = {"wakes": 10, "cold_starts": 3, "move": 2, "storm": 3, "elastic": 1, "cost": 4}
"""How often a drill does what it does, unless told."""
FILE_CHARACTERS = 32 * 1024 * 1024


class BenchmarkRowSerializer(RowSerializer):
    """A benchmark without its result; `shown.row` makes the row."""

    row = BenchmarkRow


class BenchmarkDetailSerializer(RowSerializer):
    """A benchmark with its result; `shown.detail` makes the row."""

    row = BenchmarkDetail


class LengthsSerializer(serializers.Serializer[Any]):
    """How many tokens a prompt or an answer has: always the same, or drawn from a distribution."""

    shape = serializers.ChoiceField(choices=["fixed", "uniform", "lognormal"], required=False)
    tokens = serializers.IntegerField(
        required=False, min_value=1, max_value=MOST_TOKENS, help_text="always so many; of lognormal the median"
    )
    low = serializers.IntegerField(required=False, min_value=1, max_value=MOST_TOKENS, help_text="never fewer")
    high = serializers.IntegerField(required=False, min_value=1, max_value=MOST_TOKENS, help_text="never more")
    sigma = serializers.FloatField(required=False, min_value=0, max_value=5, help_text="spread of lognormal")

    def validate(self, asked: dict[str, Any]) -> dict[str, Any]:
        """`uniform` needs both ends, in order."""
        low, high = asked.get("low"), asked.get("high")
        if asked.get("shape") == "uniform" and (low is None or high is None):
            raise serializers.ValidationError("uniform lengths need `low` and `high`")
        if low is not None and high is not None and low > high:
            raise serializers.ValidationError(f"`low` is {low} and `high` only {high}")
        return asked


class ArrivalSerializer(serializers.Serializer[Any]):
    """When calls are made: as others end (closed), or at times of their own."""

    pattern = serializers.ChoiceField(choices=["closed", "constant", "poisson", "gamma", "ramp"], required=False)
    concurrency = serializers.IntegerField(required=False, min_value=1, max_value=10_000, help_text="callers of closed")
    rate = serializers.FloatField(required=False, min_value=0.001, max_value=10_000, help_text="calls a second")
    rate_end = serializers.FloatField(required=False, min_value=0.001, max_value=10_000, help_text="where a ramp ends")
    ramp_seconds = serializers.FloatField(required=False, min_value=1, max_value=86_400)
    burstiness = serializers.FloatField(
        required=False, min_value=0.01, max_value=100, help_text="of gamma: 1 is Poisson, less is burstier"
    )


class SloSerializer(serializers.Serializer[Any]):
    """What each call has to keep to count as good."""

    ttft_seconds = serializers.FloatField(required=False, min_value=0.0001, help_text="from the planned time")
    itl_seconds = serializers.FloatField(required=False, min_value=0.0001, help_text="no token later after another")
    tpot_seconds = serializers.FloatField(required=False, min_value=0.0001)
    e2e_seconds = serializers.FloatField(required=False, min_value=0.0001, help_text="from the planned time")

    def validate(self, asked: dict[str, Any]) -> dict[str, Any]:
        """An answer cannot be whole before it began."""
        ttft, e2e = asked.get("ttft_seconds"), asked.get("e2e_seconds")
        if ttft is not None and e2e is not None and e2e < ttft:
            raise serializers.ValidationError(
                f"this SLO cannot be met: the whole answer within {e2e:g} s, and its first token as late as {ttft:g} s"
            )
        return asked


class StreamSerializer(serializers.Serializer[Any]):
    """Calls to one deployment that are alike."""

    deployment = serializers.CharField(max_length=63, help_text="its name")
    arrival = ArrivalSerializer(required=False)
    prompt = LengthsSerializer(required=False)
    output = LengthsSerializer(required=False)
    shared_prefix_ratio = serializers.FloatField(
        required=False, min_value=0, max_value=1, help_text="so large a part of each prompt is the same in all"
    )
    prompts = serializers.CharField(
        required=False,
        max_length=FILE_CHARACTERS,
        allow_blank=True,
        trim_whitespace=False,
        help_text="JSONL, asked in turn instead of made-up prompts",
    )
    exact_output = serializers.BooleanField(
        required=False, help_text="true unless told: the engine may not end an answer early"
    )
    kind = serializers.ChoiceField(choices=["chat", "completions", "embeddings"], required=False)
    way = serializers.ChoiceField(
        choices=["gateway", "engine"], required=False, help_text="`engine`: straight to it, to see what we cost"
    )
    slo = SloSerializer(required=False)


class ProbeSerializer(serializers.Serializer[Any]):
    """One-token calls to a neighbour, beside the load."""

    deployment = serializers.CharField(max_length=63, help_text="its name")
    every_seconds = serializers.FloatField(required=False, min_value=0.01, max_value=3600)


class SearchSerializer(serializers.Serializer[Any]):
    """Look for the highest load that keeps the SLO of the first stream; the other streams are neighbours."""

    over = serializers.ChoiceField(choices=["rate", "concurrency"], required=False)
    low = serializers.FloatField(required=False, min_value=0.01, max_value=10_000, help_text="the first load tried")
    high = serializers.FloatField(required=False, min_value=0.01, max_value=10_000)
    ratio = serializers.FloatField(
        required=False, min_value=0.5, max_value=0.999, help_text="so large a part of the calls has to keep the SLO"
    )
    trial_seconds = serializers.FloatField(required=False, min_value=1, max_value=600)
    most_seconds = serializers.FloatField(required=False, min_value=1, max_value=3600, help_text="of all trials")
    precision = serializers.FloatField(required=False, min_value=0.01, max_value=1)

    def validate(self, asked: dict[str, Any]) -> dict[str, Any]:
        """The bounds stand in order."""
        low, high = asked.get("low", Bounds().low), asked.get("high", Bounds().high)
        if low > high:
            raise serializers.ValidationError(f"`low` is {low:g} and `high` only {high:g}")
        return asked


class DrillSerializer(serializers.Serializer[Any]):
    """What the fleet itself does, again and again, and what calls feel of it."""

    kind = serializers.ChoiceField(choices=get_args(Kind), required=False, help_text="wakes unless told")
    level = serializers.ChoiceField(choices=[1, 2], required=False, help_text="the sleep level")
    cycles = serializers.IntegerField(required=False, min_value=1, max_value=1000)
    turn_seconds = serializers.FloatField(
        required=False, min_value=1, max_value=600, help_text="how long each part, or each model's burst, takes"
    )
    kv_bytes = serializers.IntegerField(
        required=False, min_value=2**20, help_text="of elastic: the KV memory that all of them share"
    )

    def validate(self, asked: dict[str, Any]) -> dict[str, Any]:
        """How often, unless told: a drill takes a few minutes."""
        return asked if "cycles" in asked else asked | {"cycles": CYCLES[asked.get("kind", "wakes")]}


class NewBenchmarkSerializer(serializers.Serializer[Any]):
    """The body says what to measure: streams, or a trace."""

    name = serializers.CharField(required=False, max_length=100, allow_blank=True)
    streams = StreamSerializer(many=True, required=False)
    trace = serializers.CharField(
        required=False,
        max_length=FILE_CHARACTERS,
        allow_blank=True,
        trim_whitespace=False,
        help_text="the text of a file with offset_ms, model, prompt_tokens, max_tokens; a stream for each model",
    )
    speed = serializers.FloatField(
        required=False, min_value=0.001, max_value=1000, help_text="a trace is replayed so many times as fast"
    )
    search = SearchSerializer(required=False)
    drill = DrillSerializer(required=False)
    probes = ProbeSerializer(many=True, required=False)
    together = serializers.BooleanField(required=False, help_text="true unless told: all streams at once")
    seconds = serializers.FloatField(required=False, min_value=0.5, max_value=3600)
    calls = serializers.IntegerField(required=False, min_value=1, max_value=1_000_000, help_text="of each stream")
    warmup_seconds = serializers.FloatField(required=False, min_value=0, max_value=3600)
    drain_seconds = serializers.FloatField(required=False, min_value=0, max_value=3600)
    seed = serializers.IntegerField(required=False, min_value=0, max_value=2**31 - 1)
    beside = serializers.BooleanField(required=False, help_text="although another measures on the same GPU")
    metered = serializers.BooleanField(required=False, help_text="keep its calls as usage")
    keeps_awake = serializers.BooleanField(required=False, help_text="let its calls count as use of the models")

    def validate(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Streams or a trace, and an end."""
        if bool(asked.get("streams")) == ("trace" in asked):
            raise serializers.ValidationError("say what to measure: either `streams` or a `trace`")
        if "search" in asked:
            if "trace" in asked or not asked["streams"][0].get("slo"):
                raise serializers.ValidationError("a search needs `streams`, the first of them with an `slo`")
        elif "drill" in asked:
            _check_drill(asked)
        elif "trace" not in asked and asked.get("seconds") is None and asked.get("calls") is None:
            raise serializers.ValidationError("say when it ends: `seconds`, `calls` or both")
        return asked

    def kind(self) -> dict[str, Any]:
        """What sort of benchmark it is, as its row keeps it."""
        if "drill" in self.validated_data:
            drill = msgspec.convert(self.validated_data["drill"], Drill)
            return {"kind": "drill", "options": msgspec.to_builtins(drill)}
        if "search" not in self.validated_data:
            return {}
        bounds = msgspec.convert(self.validated_data["search"], Bounds)
        return {"kind": "search", "options": msgspec.to_builtins(bounds)}

    def plan(self) -> Plan:
        """What was asked, checked. Raises InvalidSpec for files that cannot be read."""
        asked = self.validated_data
        names = ("together", "seconds", "calls", "warmup_seconds", "drain_seconds", "seed", "probes")
        fields = {name: asked[name] for name in names if name in asked}
        streams = _of_trace(asked) if "trace" in asked else [_stream(each) for each in asked["streams"]]
        return msgspec.convert({**fields, "streams": streams}, Plan)


def _check_drill(asked: dict[str, Any]) -> None:
    """Who is asked, and how often, has to suit the drill."""
    kind, streams = asked["drill"].get("kind", "wakes"), asked.get("streams", ())
    if kind == "storm" and "trace" in asked:
        return
    if any(stream.get("way") == "engine" for stream in streams):
        raise serializers.ValidationError(
            {"drill": "a drill needs streams through the gateway: only calls there wake and are held"}
        )
    if kind in ("storm", "elastic") and len(streams) < 2:
        raise serializers.ValidationError({"drill": "models take turns in this drill: it needs two streams or more"})
    if kind not in ("storm", "elastic") and len(streams) != 1:
        raise serializers.ValidationError({"drill": "this drill needs one stream"})


def _stream(asked: dict[str, Any]) -> dict[str, Any]:
    return asked | ({"prompts": traces.read_prompts(asked["prompts"])} if "prompts" in asked else {})


def _of_trace(asked: dict[str, Any]) -> list[Stream | dict[str, Any]]:
    """A stream for each model of the trace, which may be named as people ask for it or as its deployment is."""
    names = dict(Deployment.objects.filter(deleting=False).values_list("served_name", "name"))
    found: list[Stream | dict[str, Any]] = []
    for model, moments in traces.read_trace(asked["trace"]).items():
        arrival = {"pattern": "trace", "trace": msgspec.to_builtins(moments), "speed": asked.get("speed", 1.0)}
        found.append({"deployment": names.get(model, model), "arrival": arrival})
    return found


class ConditionsSerializer(serializers.Serializer[Any]):
    """The query's conditions, such as `ttft_p95>0.5`."""

    condition = serializers.ListField(child=serializers.CharField(max_length=100), required=False)

    def validate_condition(self, texts: list[str]) -> list[conditions.Condition]:
        """Each in the words of a result's figures."""
        return [conditions.read(text) for text in texts]
