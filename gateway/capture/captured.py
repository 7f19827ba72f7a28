"""One call as it is kept for people to look at: what was asked, what was answered, what became of it."""

import msgspec


class Capture(msgspec.Struct, frozen=True, kw_only=True):
    """One captured call, redacted. Seconds are seconds, `at` is the Unix time of its end, texts are bounded."""

    at: float
    request_id: str
    deployment: int
    served_name: str
    asked_name: str
    key_id: int
    team: int | None
    method: str
    path: str
    stream: bool
    status: int
    outcome: str
    replica_id: int | None
    queue_seconds: float
    wake_seconds: float
    ttft_seconds: float | None
    e2e_seconds: float
    prompt_tokens: int | None
    cached_tokens: int | None
    completion_tokens: int | None
    headers: dict[str, str]
    request: str
    request_bytes: int
    response: str
    response_bytes: int
