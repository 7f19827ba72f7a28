"""What every answer of the web process carries: the id of its request, and what a browser may load for its page."""

import uuid
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from sardeenz import request_ids

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; "
    "img-src 'self' data:; "  # pictures that somebody gives a model in the playground
    "connect-src 'self'; "  # the websocket too
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Everything comes from here, and nothing that stands in a page itself runs: what is injected stays text."""


def request_id(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Set `request.request_id` and the `X-Request-Id` header of the answer."""

    def middleware(request: HttpRequest) -> HttpResponse:
        given = request.headers.get("X-Request-Id", "")
        request.request_id = given if request_ids.ACCEPTED(given.encode()) else uuid.uuid4().hex  # type: ignore[attr-defined]
        response = get_response(request)
        response["X-Request-Id"] = request.request_id  # type: ignore[attr-defined]
        return response

    return middleware


def content_security_policy(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Set the `Content-Security-Policy` header of the answer, of static files and errors too."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response["Content-Security-Policy"] = PAGE_POLICY
        return response

    return middleware
