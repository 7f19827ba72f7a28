"""What rows keep as JSON, field by field."""

from typing import TypedDict


class LaunchSpecification(TypedDict, total=False):
    """How an engine is launched: frozen when its replica was made, so that restarts and moves change nothing.

    A row of an older version may lack what was added since.
    """

    model_source: str
    revision: str
    served_name: str
    deployment_name: str
    runtime_id: int
    kind: str
    executable: str
    version: str
    kvcached: bool
    extra_args: list[str]
    environment: dict[str, str]
    max_model_len: int | None
    tensor_parallel: int
    sleep_enabled: bool
    kv_cap_bytes: int | None
    kv_floor_bytes: int
    weights_bytes: int
    overhead_bytes: int
    gpu_uuids: list[str]
