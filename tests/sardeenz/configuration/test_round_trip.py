"""Any fleet, written down, forgotten and applied again, is the same fleet."""

from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gateway.models import Alias, Team
from models_app.models import Deployment, EngineRuntime, Model
from sardeenz.configuration import applying, state
from sardeenz.configuration.applying import Request
from tests import factories

pytestmark = pytest.mark.django_db
GIB = factories.GIB
NAMES = st.sampled_from(["no", "on", "1e3", "017", "null", "y", "a.b-c_d", "0x1F", "true", "1_000", "12"])
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
WORDS = TEXT.map(str.strip).filter(lambda text: text and not text.startswith("-"))
SIZES = st.none() | st.integers(1, 4 * GIB)
SECONDS = st.none() | st.floats(1, 1e6)
DEPLOYMENTS = st.fixed_dictionaries(
    {
        "priority": st.integers(-9, 9),
        "replicas": st.integers(0, 3),
        "pinned": st.booleans(),
        "sleep_enabled": st.booleans(),
        "prefix_affinity": st.booleans(),
        "queue_seconds": SECONDS,
        "queue_limit": st.integers(0, 10**6),
        "max_model_len": st.none() | st.integers(1, 10**6),
        "kv_floor_bytes": SIZES,
        "weights_bytes": SIZES,
        "overhead_bytes": SIZES,
        "kv_weight": st.integers(1, 100),
        "environment": st.dictionaries(st.sampled_from(["A", "no", "WANDB_MODE"]), TEXT.map(str.strip)),
        "extra_args": st.lists(WORDS, max_size=3),
    }
)
TEAMS = st.fixed_dictionaries(
    {
        "weight": st.integers(1, 9),
        "priority": st.integers(-9, 9),
        "tokens_per_day": st.none() | st.integers(0, 10**12),
        "gpu_seconds_per_month": st.none() | st.floats(0, 1e9),
    }
)


def make(deployments: dict[str, Any], teams: dict[str, Any]) -> None:
    for name, fields in deployments.items():
        factories.deployment(name=name, kv_cap_bytes=None, **fields)
    for name, fields in teams.items():
        Team.objects.create(name=name, **fields)
    for name in sorted(deployments)[:1]:
        factories.alias(f"alias/{name}", (Deployment.objects.get(name=name), 3))


def forget() -> None:
    for rows in (Alias, Deployment, Model, EngineRuntime, Team):
        rows._default_manager.all().delete()


@settings(
    max_examples=10,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.dictionaries(NAMES, DEPLOYMENTS, max_size=3), st.dictionaries(NAMES, TEAMS, max_size=2))
def test_export_forget_apply(db: None, deployments: dict[str, Any], teams: dict[str, Any]) -> None:
    with transaction.atomic():
        make(deployments, teams)
        before = state.read()
        document = state.text(before)
        forget()
        applying.apply(Request(document, "olive"))
        assert state.read() == before
        assert state.text(state.read()) == document
        assert applying.apply(Request(document, "olive", prune=True)).comparison.changes == []
        transaction.set_rollback(True)
