"""What is known to break is refused where it is asked for, in words, by version, and let pass where it is told so."""

import re
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from models_app import compatibility
from models_app.compatibility import PROBLEMS, Setup
from models_app.errors import KnownProblem
from models_app.launch_settings import outdated, settings
from models_app.lifecycle import verbs
from models_app.lifecycle.next_step import Effect, Step
from models_app.lifecycle.sleeping import LEVEL_2_UNSAFE, sleep
from models_app.memory import host_rows
from models_app.models import Deployment, Replica
from models_app.policy import host_memory
from models_app.rows import deployment_row
from models_app.states import Goal, State
from tests import factories
from tests.models_app.lifecycle.sights import sight

LORA, OFFLOAD = ["--enable-lora"], ["--kv-offloading-size", "32"]
DRAFTS = ["--speculative-config", '{"method": "eagle3", "model": "org/draft", "num_speculative_tokens": 3}']
NGRAM = ["--speculative-config", '{"method": "ngram", "num_speculative_tokens": 3}']
GEMMA = {"architectures": ["Gemma4ForConditionalGeneration"]}
SCALED = {"quantization_config": {"quantization": {"kv_cache_quant_algo": "FP8"}}}


@pytest.mark.parametrize(
    ("version", "args", "facts", "codes"),
    [
        ("0.30.0", [], {}, []),
        ("0.30.0", DRAFTS, {}, ["level_2_draft_weights"]),
        ("", DRAFTS, {}, ["level_2_draft_weights"]),
        ("0.30.0", NGRAM, {}, []),
        ("0.30.0", ["--speculative-config", "{"], {}, []),
        ("0.29.1", ["--kv-cache-dtype", "fp8"], {}, ["level_2_kv_scales"]),
        ("0.29.1", ["--kv_cache_dtype=fp8_e4m3"], {}, ["level_2_kv_scales"]),
        ("0.29.1", ["--kv-cache-dtype", "bfloat16"], SCALED, []),
        ("0.29.1", [], SCALED, ["level_2_kv_scales"]),
        ("0.29.1", [], {"quantization_config": {"quant_method": "fp8"}}, []),
        ("0.30.0", ["--kv-cache-dtype", "fp8"], {}, []),
        ("", ["--kv-cache-dtype", "fp8"], {}, []),
        ("0.30.0", [], GEMMA, ["level_2_gemma_4"]),
        ("0.30.0", [], {"architectures": ["Gemma4ForCausalLM"]}, []),
        ("0.26.0", LORA, {}, ["level_2_lora"]),
        ("0.27.1", LORA, {}, ["level_2_lora", "sleep_lora"]),
        ("0.30.0+cpu", LORA, {}, ["sleep_lora"]),
        ("0.22.1", OFFLOAD, {}, ["sleep_kv_offload"]),
        ("0.22.1", [*OFFLOAD, "--kv-offloading-backend", "lmcache"], {}, []),
        ("0.22.1", ["--kv-transfer-config", '{"kv_connector": "OffloadingConnector"}'], {}, ["sleep_kv_offload"]),
        ("0.30.0", OFFLOAD, {}, []),
        ("0.30.0", ["--kv-events-config", "{}"], {}, ["kvcached_kv_events"]),
    ],
)
def test_a_problem_is_known_by_version_flags_and_model(
    version: str, args: list[str], facts: dict[str, Any], codes: list[str]
) -> None:
    assert [one.code for one in compatibility.of(Setup(version, True, tuple(args), facts))] == codes


def test_kv_events_are_kvcacheds_problem() -> None:
    assert compatibility.of(Setup("0.30.0", False, ("--kv-events-config", "{}"))) == []


def test_the_page_lists_every_problem_with_its_versions_and_source() -> None:
    page = (Path(__file__).parents[2] / "docs" / "compatibility.md").read_text()
    rows = {line.split("|")[1].strip().strip("`"): line for line in page.splitlines() if line.startswith("| `")}
    assert rows.keys() == {one.code for one in PROBLEMS}
    for one in PROBLEMS:
        for issue in re.findall(r"#\d+", one.source):
            assert issue in rows[one.code]
        for end in filter(None, (one.first if any(one.first) else None, one.last)):
            assert f"0.{end[1]}" in rows[one.code]


@pytest.fixture
def manager(client: Client) -> Client:
    """An operator at the API."""
    client.force_login(factories.user(is_staff=True, is_superuser=True))
    return client


def made(manager: Client, **fields: Any) -> Any:
    factories.gpu()
    factories.runtime(version="0.30.0")
    said = {"name": "chat", "model": factories.model().pk, "weights_bytes": 2**30, **fields}
    return manager.post("/api/deployments", said, content_type="application/json")


@pytest.mark.django_db
def test_a_deployment_that_every_sleep_would_break_is_refused_with_its_field_and_fix(manager: Client) -> None:
    refused = made(manager, extra_args=LORA)
    assert refused.status_code == 422
    told = refused.json()
    assert told["code"] == "known_problem"
    assert told["fields"]["field"] == "sleep_enabled"
    assert "do not let it sleep" in told["message"]
    assert "vllm#53888" in told["message"]
    assert not Deployment.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize("fields", [{"sleep_enabled": False}, {"ignore_known_problems": True}])
def test_it_is_taken_without_sleep_or_when_told_to_ignore_it(manager: Client, fields: dict[str, Any]) -> None:
    answer = made(manager, extra_args=LORA, **fields)
    assert answer.status_code == 201
    assert [one["code"] for one in answer.json()["known_problems"]] == ["sleep_lora"]
    assert answer.json()["ignore_known_problems"] is fields.get("ignore_known_problems", False)


@pytest.mark.django_db
def test_an_edit_that_brings_a_problem_is_refused_and_one_of_something_else_is_not(manager: Client) -> None:
    row = factories.deployment(extra_args=LORA)  # as an older version made it
    path = f"/api/deployments/{row.pk}"
    assert manager.patch(path, {"priority": 3}, content_type="application/json").status_code == 200
    assert (
        manager.patch(path, {"extra_args": [*LORA, "--seed", "1"]}, content_type="application/json").status_code == 422
    )
    assert manager.patch(path, {"sleep_enabled": False}, content_type="application/json").status_code == 200


@pytest.mark.django_db
def test_one_of_an_older_version_loads_without_sleep_mode_from_its_next_start_on() -> None:
    row = factories.deployment(extra_args=LORA)
    assert settings(row)["sleep_enabled"] is False
    replica = factories.replica(deployment=row)
    assert outdated(replica) == ["may sleep"]
    row.ignore_known_problems = True
    assert settings(row)["sleep_enabled"] is True


@pytest.mark.django_db
def test_level_2_is_refused_where_it_breaks_and_level_1_is_not() -> None:
    replica = factories.replica(deployment=factories.deployment(extra_args=DRAFTS))
    with pytest.raises(KnownProblem, match=r"sleep level 2: the drafting weights .*#52479.* level 1") as caught:
        verbs.sleep(replica, actor="ada", level=2)
    assert caught.value.fields["problem"] == "level_2_draft_weights"
    replica.refresh_from_db()
    assert replica.goal == Goal.READY
    verbs.sleep(replica, actor="ada", level=1)


@pytest.mark.django_db
def test_level_2_is_taken_where_known_problems_are_ignored() -> None:
    replica = factories.replica(deployment=factories.deployment(extra_args=DRAFTS, ignore_known_problems=True))
    assert verbs.sleep(replica, actor="ada", level=2).sleep_level == 2


@pytest.mark.django_db
def test_one_whose_host_lacks_ram_ends_rather_than_sleep_at_a_level_that_breaks_it() -> None:
    deployment = factories.deployment(extra_args=DRAFTS)
    replica = factories.replica(State.DRAINING, deployment=deployment, goal=Goal.SLEEPING, sleep_level=2)
    assert sleep(sight(replica), Step(None, Effect.SLEEP, "drained"))
    replica.refresh_from_db()
    assert (replica.state, replica.goal, replica.reason) == (State.STOPPING, Goal.SLEEPING, LEVEL_2_UNSAFE)
    assert "it loads at its next request" in replica.message


@pytest.mark.django_db
def test_a_sleeper_that_level_2_breaks_gives_host_ram_back_by_ending() -> None:
    safe = factories.replica(State.SLEEPING)
    unsafe = factories.replica(State.SLEEPING, deployment=factories.deployment(extra_args=DRAFTS))
    steps = host_memory._steps(safe.gpu.node)
    assert {pk: step.reason for pk, step in steps.items()} == {safe.pk: host_rows.DEEPENS, unsafe.pk: host_rows.RESTS}


@pytest.mark.django_db
def test_a_deployments_row_tells_its_problems_also_while_they_are_ignored() -> None:
    row = deployment_row(factories.deployment(extra_args=DRAFTS, ignore_known_problems=True), {})
    assert row["ignore_known_problems"]
    assert [(one["code"], one["levels"]) for one in row["known_problems"]] == [("level_2_draft_weights", [2])]
    assert Replica.objects.count() == 0
