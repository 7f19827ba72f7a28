"""What a handler gets: the engine and the little state the HTTP side keeps."""

import os
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from models_app.engines.simulator.engine import Engine, new_id
from models_app.engines.simulator.flags import Options
from models_app.engines.simulator.wire import Reply, Request

FINGERPRINT = "vllm-0.30.0-simulated"
_STORED_RESPONSES = 256


@dataclass(slots=True)
class Context:
    """The server as its handlers see it."""

    options: Options
    engine: Engine
    created: int = field(default_factory=lambda: int(time.time()))
    load: int = 0
    responses: OrderedDict[str, dict[str, Any]] = field(default_factory=OrderedDict)
    conversations: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    background: dict[str, Any] = field(default_factory=dict)

    @property
    def stores(self) -> bool:
        """Whether responses are kept; vLLM wants it said."""
        return os.environ.get("VLLM_ENABLE_RESPONSES_API_STORE", "0") == "1"

    def store(self, response: dict[str, Any], turns: list[dict[str, Any]]) -> None:
        """Keep a response for GET /v1/responses/{id}, and the turns it answered; the oldest are forgotten."""
        if not self.stores:
            return
        self.responses[response["id"]] = response
        self.conversations[response["id"]] = turns
        if len(self.responses) > _STORED_RESPONSES:
            oldest, _ = self.responses.popitem(last=False)
            del self.conversations[oldest]


Handler = Callable[[Context, Request, Reply], Awaitable[None]]


def request_id(prefix: str, request: Request, body: dict[str, Any]) -> str:
    """The caller's id where it gave one, else a fresh one."""
    given = request.header(b"x-request-id") or body.get("request_id")
    return f"{prefix}-{given}" if given else new_id(prefix)
