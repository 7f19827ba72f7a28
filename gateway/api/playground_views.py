"""/api/playground: a chat from the dashboard, through the session.

The web process hands the call to the gateway with a key of the person's own and passes the answer on as it comes, so a
browser needs neither a key nor the gateway's address; whoever closes the page ends the call at the engine.
"""

from collections.abc import AsyncIterator
from typing import Any, NoReturn, cast

import httpx2
import msgspec
from django.conf import settings
from django.contrib.auth.models import User
from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.authentication import SessionAuthentication
from rest_framework.request import Request
from rest_framework.views import APIView

from gateway.access import tokens
from gateway.errors import GatewayUnreachable
from gateway.wire import envelopes
from sardeenz.access.permissions import Operate
from sardeenz.errors import Forbidden, SardeenzError

PATH = "/v1/chat/completions"
CONNECT_SECONDS = 5.0
REFUSED_BYTES = 64 * 1024
_KEPT = ("retry-after", "x-sardeenz-state", "x-sardeenz-eta-seconds")


class ChatSerializer(serializers.Serializer[Any]):
    """What is asked; all else that is given goes to the engine as it is."""

    model = serializers.CharField(max_length=200)
    messages = serializers.ListField(child=serializers.DictField(), allow_empty=False)


class PlaygroundView(APIView):
    """One chat, streamed. Calls take GPU time and wake models, so they need the right to act; and no key will do."""

    authentication_classes = (SessionAuthentication,)
    permission_classes = (Operate,)

    def permission_denied(self, request: Request, message: str | None = None, code: str | None = None) -> NoReturn:
        """Say what would be let in: a person who may act, here; a program, at the gateway."""
        raise Forbidden("this needs a signed-in staff account; programs call /v1 with a key")

    @extend_schema(request=ChatSerializer, responses={(200, "text/event-stream"): OpenApiTypes.STR})
    def post(self, request: Request) -> StreamingHttpResponse:
        """The answer's events as the gateway sends them; a refusal of the gateway is an event `refused`."""
        person = cast(User, request.user)  # whoever has the right to act through a session
        ChatSerializer(data=request.data).is_valid(raise_exception=True)
        body = request.data | {"stream": True, "stream_options": {"include_usage": True}}
        headers = {
            "authorization": f"Bearer {tokens.for_person(person)}",
            "content-type": "application/json",
            "x-request-id": request._request.request_id,  # type: ignore[attr-defined]
        }
        answer = StreamingHttpResponse(_relay(msgspec.json.encode(body), headers), content_type="text/event-stream")
        answer["Cache-Control"] = "no-cache"
        answer["X-Accel-Buffering"] = "no"
        return answer


async def _relay(body: bytes, headers: dict[str, str]) -> AsyncIterator[bytes]:
    """The gateway's answer, piece by piece. Whoever leaves cancels this, and so the call."""
    timeout = httpx2.Timeout(None, connect=CONNECT_SECONDS)
    url = settings.BENCHMARK_URL.rstrip("/") + PATH
    try:
        async with (
            httpx2.AsyncClient(trust_env=False, timeout=timeout) as client,
            client.stream("POST", url, content=body, headers=headers) as answer,
        ):
            if answer.status_code != 200:
                yield await _refusal(answer)
                return
            async for piece in answer.aiter_raw():
                yield piece
    except httpx2.TransportError:
        yield _refused(502, _envelope(GatewayUnreachable("the gateway does not answer, or broke off its answer")))


async def _refusal(answer: httpx2.Response) -> bytes:
    told = (await answer.aread())[:REFUSED_BYTES]
    try:
        error = msgspec.json.decode(told)
    except msgspec.DecodeError:
        error = _envelope(GatewayUnreachable("what answered is not the gateway; see SARDEENZ_BENCHMARK_URL"))
    kept = {name: answer.headers[name] for name in _KEPT if name in answer.headers}
    return _refused(answer.status_code, error, kept)


def _refused(status: int, error: Any, headers: dict[str, str] | None = None) -> bytes:
    told = {"status": status, "headers": headers or {}} | (error if isinstance(error, dict) else {})
    return b"\n\nevent: refused\ndata: " + msgspec.json.encode(told) + b"\n\n"


def _envelope(error: SardeenzError) -> dict[str, Any]:
    return envelopes.as_openai(error)
