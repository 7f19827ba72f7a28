"""What a decision was made from, as the command line tells it."""

from sardeenz.cli import times
from sardeenz.cli.policy.inputs import lines

GIB = 2**30
AT = "2025-11-30T00:00:05+00:00"


def test_inputs_are_lines_with_sizes_lengths_and_moments() -> None:
    inputs = {
        "until": 1764460805.0,
        "restart_at": AT,
        "since": "a while",
        "free_bytes": {"GPU-1": 2 * GIB},
        "max_wait_seconds": 8.0,
        "wanted": {"id": 7, "needs": {"GPU-1": GIB}, "ready_at": None, "cold": False},
        "rules": {"wait_seconds": {"-1": 4.0}},
        "residents": [{"name": "chat", "frees": {"GPU-1": GIB}}, {}],
        "rivals": [],
        "now": {"priority": 7},
    }
    assert list(lines(inputs)) == [
        f"until: {times.shown(AT)}",
        f"restart at: {times.shown(AT)}",
        "since: a while",
        "free:",
        "  GPU-1: 2 GiB",
        "max wait: 8 s",
        "wanted:",
        "  id: 7",
        "  needs:",
        "    GPU-1: 1 GiB",
        "  ready at: not known",
        "  cold: no",
        "rules:",
        "  wait:",
        "    -1: 4 s",
        "residents:",
        "  - name: chat",
        "    frees:",
        "      GPU-1: 1 GiB",
        "  - none",
        "rivals: none",
        "now:",
        "  priority: 7",
    ]
