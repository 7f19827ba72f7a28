"""The rows of the measured installation, in its own database: a ready replica that is the fake engine, and two keys.

Run by `ours` with Django set up. It prints the keys as JSON: one with every limit there is and a team, one with none.
"""

import json
import sys
from typing import Any

from django.core.management import call_command

from gateway.access import keys
from gateway.models import ApiKey, Scope, Team
from tests import factories
from tests.bench.gateway.client import MODEL

PLENTY = 1_000_000_000
LIMITS: dict[str, Any] = {
    "requests_per_minute": PLENTY,
    "tokens_per_minute": PLENTY,
    "concurrent_requests": 1_000_000,
    "tokens_per_day": PLENTY * 1000,
    "tokens_per_month": PLENTY * 1000,
    "gpu_seconds_per_day": float(PLENTY),
    "gpu_seconds_per_month": float(PLENTY),
}
"""High enough to refuse nothing: what is measured is the counting."""


def make(engine_port: int) -> dict[str, str]:
    """The plain keys by name."""
    call_command("migrate", verbosity=0)
    deployment = factories.deployment(name=MODEL, max_concurrency=1_000_000)
    factories.replica(deployment=deployment, port=engine_port)
    team = Team.objects.create(name="bench", weight=2, **LIMITS)
    return {"limited": _key("limited", team=team, **LIMITS), "free": _key("free")}


def _key(name: str, **fields: Any) -> str:
    plain = f"sk-srdz-bench-{name}"
    scopes = [str(Scope.INFERENCE)]
    ApiKey.objects.create(name=name, prefix=plain[:14], digest=keys.digest(plain), scopes=scopes, **fields)
    return plain


if __name__ == "__main__":
    print(json.dumps(make(int(sys.argv[1]))))
