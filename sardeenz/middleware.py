"""A request id comes in or is made, and goes out again."""

import uuid
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from sardeenz import request_ids


def request_id(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Set `request.request_id` and the `X-Request-Id` header of the answer."""

    def middleware(request: HttpRequest) -> HttpResponse:
        given = request.headers.get("X-Request-Id", "")
        request.request_id = given if request_ids.ACCEPTED(given.encode()) else uuid.uuid4().hex  # type: ignore[attr-defined]
        response = get_response(request)
        response["X-Request-Id"] = request.request_id  # type: ignore[attr-defined]
        return response

    return middleware
