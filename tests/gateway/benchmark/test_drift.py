"""What is said once a deployment is not used, or not served, as it was measured."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from gateway.benchmark import drift, surroundings
from gateway.benchmark.load.figures import Ledger
from gateway.benchmark.load.plan import Slo
from gateway.models import BenchmarkRun, UsageRecord
from models_app.models import Deployment, Replica
from tests import factories
from tests.gateway.benchmark.test_answer import event, streamed, usage

pytestmark = pytest.mark.django_db
NOW = timezone.now()


@pytest.fixture
def run() -> BenchmarkRun:
    """A second's load on `chat`: prompts of 7 tokens, answers of 2, the first within half a second."""
    factories.replica(deployment=factories.deployment(name="chat"), gpu=factories.gpu())
    ledger = Ledger(Slo(ttft_seconds=0.5))
    ledger.note(streamed((10.2, event(1, content="a")), (10.9, event(2, content="b") + usage(2)), ends=11.0))
    stream = {"deployment": "chat", "role": "load", "way": "gateway", "figures": ledger.figures()}
    plan = {"streams": [{"deployment": "chat", "slo": {"ttft_seconds": 0.5}}]}
    gpus = list(Replica.objects.values_list("gpu__uuid", flat=True))
    return BenchmarkRun.objects.create(
        status="done",
        plan=plan,
        deployments=["chat"],
        gpus=gpus,
        environment=surroundings.environment(["chat"], gpus),
        result={"streams": [stream]},
    )


def calls(number: int, *, seconds: float = 60.0, at: datetime = NOW, **fields: Any) -> None:
    known = {"prompt_tokens": 7, "completion_tokens": 2, "ttft_seconds": 0.2, "e2e_seconds": 1.0}
    UsageRecord.objects.bulk_create(
        UsageRecord(
            served_name="chat",
            path="/v1/chat/completions",
            status=200,
            outcome="ok",
            stream=True,
            at=at - timedelta(seconds=seconds * index),
            **(known | fields),
        )
        for index in range(number)
    )


def test_nothing_is_said_while_calls_are_as_measured_or_too_few(run: BenchmarkRun) -> None:
    figures = run.result["streams"][0]["figures"]
    assert (figures["prompt_tokens"], figures["completion_tokens"]) == (7, 2)
    calls(50)
    assert drift.warnings(run, NOW) == []
    UsageRecord.objects.all().delete()
    calls(drift.FEW - 1, prompt_tokens=900)
    assert drift.warnings(run, NOW) == []


def test_other_lengths_are_told(run: BenchmarkRun) -> None:
    calls(30, prompt_tokens=900, completion_tokens=1)
    assert drift.warnings(run, NOW) == [
        "prompts of chat had 900 tokens on average in the last hour; 7 were measured",
        "answers of chat had 1 tokens on average in the last hour; 2 were measured",
    ]


def test_more_calls_than_were_measured_are_told(run: BenchmarkRun) -> None:
    minute = NOW.replace(second=59, microsecond=0) - timedelta(minutes=5)
    calls(90, seconds=0.5, at=minute)
    assert drift.warnings(run, NOW) == [
        "chat had 1.5 calls a second in the busiest minute of the last hour; 1.0 were measured"
    ]
    run.result["search"] = {"over": "rate", "value": 1.25}
    assert drift.warnings(run, NOW)[0].endswith("1.2 were measured")


def test_first_tokens_later_than_the_slo_are_told(run: BenchmarkRun) -> None:
    calls(40)
    calls(10, ttft_seconds=0.9)
    assert drift.warnings(run, NOW) == [
        "20% of the calls of chat had their first token later than 0.5 s in the last hour"
    ]


def test_another_engine_another_gpu_and_a_new_neighbour_are_told(run: BenchmarkRun) -> None:
    row = Replica.objects.get()
    factories.replica(deployment=factories.deployment(name="code"), gpu=row.gpu)
    Replica.objects.filter(pk=row.pk).update(spec=row.spec | {"max_model_len": 123})
    before = row.spec.get("max_model_len")
    assert drift.warnings(run, NOW) == [
        f"the longest context of chat was {before} and is 123 now",
        "code serves on the same GPU now and did not when this was measured",
    ]


def test_a_deployment_that_is_gone_is_told_and_a_drill_drifts_from_nothing(run: BenchmarkRun) -> None:
    run.kind = BenchmarkRun.Kind.DRILL
    Deployment.objects.filter(name="chat").update(deleting=True)
    assert drift.warnings(run, NOW) == []
    run.kind = BenchmarkRun.Kind.SEARCH
    assert drift.warnings(run, NOW) == ["chat is gone"]
