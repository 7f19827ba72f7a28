"""Which paths there are: as in vLLM they depend on the task and on development mode."""

from collections.abc import Iterator

from models_app.engines.simulator import (
    audio_api,
    dev_api,
    messages_api,
    meta_api,
    openai_api,
    pooling_api,
    responses_api,
)
from models_app.engines.simulator.context import Handler
from models_app.engines.simulator.flags import Options
from models_app.engines.simulator.wire import Request

Table = dict[str, dict[str, Handler]]

_ALWAYS: Table = {
    "/health": {"GET": meta_api.health},
    "/ping": {"GET": meta_api.health, "POST": meta_api.health},
    "/version": {"GET": meta_api.version},
    "/load": {"GET": meta_api.load},
    "/metrics": {"GET": meta_api.scrape},
    "/v1/models": {"GET": meta_api.models},
    "/tokenize": {"POST": meta_api.tokenize},
    "/detokenize": {"POST": meta_api.detokenize},
}
_GENERATE: Table = {
    "/v1/chat/completions": {"POST": openai_api.chat},
    "/v1/completions": {"POST": openai_api.completions},
    "/v1/responses": {"POST": responses_api.create},
    "/v1/responses/{id}": {"GET": responses_api.retrieve},
    "/v1/responses/{id}/cancel": {"POST": responses_api.cancel},
    "/v1/messages": {"POST": messages_api.create},
    "/v1/messages/count_tokens": {"POST": messages_api.count_tokens},
    "/v1/audio/transcriptions": {"POST": audio_api.transcribe},
    "/v1/audio/translations": {"POST": audio_api.transcribe},
}
_POOLING: Table = {
    "/v1/embeddings": {"POST": pooling_api.embeddings},
    "/pooling": {"POST": pooling_api.pooling},
    "/classify": {"POST": pooling_api.classify},
    **{path: {"POST": pooling_api.score} for path in ("/score", "/v1/score")},
    **{path: {"POST": pooling_api.rerank} for path in ("/rerank", "/v1/rerank", "/v2/rerank")},
}
_DEVELOPMENT: Table = {
    "/sleep": {"POST": dev_api.sleep},
    "/wake_up": {"POST": dev_api.wake_up},
    "/is_sleeping": {"GET": dev_api.is_sleeping},
    "/pause": {"POST": dev_api.pause},
    "/resume": {"POST": dev_api.resume},
    "/is_paused": {"GET": dev_api.is_paused},
    "/abort_requests": {"POST": dev_api.abort_requests},
    "/reset_prefix_cache": {"POST": dev_api.reset_prefix_cache},
    "/reset_mm_cache": {"POST": dev_api.reset_other_cache},
    "/reset_encoder_cache": {"POST": dev_api.reset_other_cache},
    "/collective_rpc": {"POST": dev_api.collective_rpc},
    "/server_info": {"GET": dev_api.server_info},
}


class Routes:
    """The routes of one engine."""

    def __init__(self, options: Options) -> None:
        self._inference = _POOLING if options.pooling else _GENERATE
        self._table = _ALWAYS | self._inference | (_DEVELOPMENT if options.dev_mode else {})

    def find(self, request: Request) -> tuple[Handler | None, bool, bool]:
        """The handler, whether leaving the request ends its work, and whether the path exists at all."""
        path = request.path
        if path.startswith("/v1/responses/"):
            identity, _, rest = path.removeprefix("/v1/responses/").partition("/")
            request.parameters["id"] = identity
            path = "/v1/responses/{id}" + ("/" + rest if rest else "")
        methods = self._table.get(path, {})
        return methods.get(request.method), path in self._inference, bool(methods)

    def listed(self) -> Iterator[tuple[str, str]]:
        """Paths and their methods, for the log."""
        for path, methods in self._table.items():
            yield path, ", ".join(methods)
