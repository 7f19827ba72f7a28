"""What rows keep as JSON, field by field."""

from typing import Final, TypedDict

UNDER_WAY: Final = "under_way"
"""The mark of a rehearsal in the profile of one that sleeps only to wake again."""

BY_SLEEP: Final = "sleep"
BY_STOP: Final = "stop"
"""How one makes room for its own replacement."""


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


class LoadFacts(TypedDict, total=False):
    """What the log lines of a load told."""

    weights_bytes: int
    weights_seconds: float
    graphs_bytes: int
    activation_bytes: int
    kv_bytes: int
    kv_tokens: int
    max_concurrency: float
    init_seconds: float
    kvcached_engaged: bool


class HeldMemory(TypedDict):
    """What one that may not wake or load yet waits for; `short` by GPU uuid, `excess` by the id of who holds it."""

    needed_bytes: int
    short: dict[str, int]
    excess: dict[str, int]


class Profile(LoadFacts, total=False):
    """What was measured of one replica; `waits_for` and `short_starts` end once it is ready.

    An engine's first sleep at level 1 takes longer than all later ones, and so has seconds of its own: those of
    generation `first_sleep_of`. `host_bytes` is what its processes held of the host's RAM before they ever slept, and
    `host_asleep_bytes` what they hold asleep at level 1; `copy_bytes` is the copy that another one of its kind made.
    Seconds are of level 1, `deep` ones of level 2. A `rehearsal` is `under_way`, `done`, or `failed`. One that makes
    room for its own replacement `gives_way`: by `sleep`, or by `stop`.
    """

    overhead_bytes: int
    held_bytes: dict[str, int]
    kv_limit_bytes: int
    load_seconds: float
    sleep_seconds: float
    first_sleep_seconds: float
    first_sleep_of: int
    host_bytes: int
    host_asleep_bytes: int
    rehearsal: str
    gives_way: str
    wake_seconds: float
    deep_sleep_seconds: float
    deep_wake_seconds: float
    copy_bytes: int
    waits_for: HeldMemory
    short_starts: int


def wake_seconds(profile: Profile, level: int) -> float | None:
    """What a wake from this level takes."""
    return profile.get("deep_wake_seconds") if level >= 2 else profile.get("wake_seconds")


def sleep_seconds(profile: Profile, generation: int) -> float | None:
    """What its next sleep at level 1 takes: an engine's first one has a figure of its own."""
    first, later = profile.get("first_sleep_seconds"), profile.get("sleep_seconds")
    return later if first is None or profile.get("first_sleep_of") == generation else first
