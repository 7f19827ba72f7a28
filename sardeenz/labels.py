"""What the fields of requests are called where people read of them, as on the page's forms. Programs read the keys."""

from typing import Final

LABELS: Final = {
    "allowed_models": "models",
    "asleep_bytes": "asleep",
    "awake_bytes": "awake",
    "capture_until": "capturing",
    "concurrent_requests": "requests at once",
    "environment": "environment",
    "expires_at": "end",
    "extra_args": "extra arguments",
    "gpu": "GPU",
    "gpu_seconds_per_day": "GPU seconds per day",
    "gpu_seconds_per_month": "GPU seconds per month",
    "group_by": "grouping",
    "headroom_bytes": "headroom",
    "held_bytes": "held",
    "idle_sleep_seconds": "sleep when idle",
    "ignore_known_problems": "ignore known problems",
    "kv_cap_bytes": "KV cap",
    "kv_floor_bytes": "KV floor",
    "kv_weight": "KV weight",
    "idle_level_2_seconds": "sleep at level 2 when idle",
    "idle_stop_seconds": "end the engine when idle",
    "min_resident_seconds": "shortest time awake",
    "ready_by": "ready by the opening",
    "duration_seconds": "duration",
    "queue_limit": "longest queue",
    "valid_from": "valid from",
    "valid_until": "valid until",
    "max_concurrency": "requests at once",
    "max_model_len": "longest context",
    "memory_bytes": "memory",
    "non_field_errors": "",
    "overhead_bytes": "overhead",
    "queue_seconds": "longest wait in the queue",
    "sleep_budget_bytes": "host RAM for sleepers",
    "sleep_enabled": "may sleep",
    "weights_bytes": "weights",
}


def label(field: str | int) -> str:
    """What people call a field; a name without a label reads as it is, with spaces; entries of a list are counted."""
    if isinstance(field, int):
        return f"entry {field + 1}"
    return LABELS.get(field, field.replace("_", " "))
