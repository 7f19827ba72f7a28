"""HTTP as the command line needs it, with the standard library: a client with more to it takes longer to load than a
verb takes to answer."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, ProxyHandler, Request, build_opener

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Unanswered(Exception):
    """Nobody answered; the text says why."""


class Refusal(Exception):
    """An answer with an error status; `body` is what it says, as JSON where it is."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(f"the answer was {status}")
        self.status = status
        self.body = body


class _Stay(HTTPRedirectHandler):
    """A redirect is an answer: a key is not sent to an address that nobody named."""

    def redirect_request(self, *_: Any) -> None:
        return None


def send(method: str, url: str, *, token: str = "", body: Any = None, timeout: float = 30, **params: Any) -> Any:
    """The answer's JSON; None where it has none. Raises Unanswered or Refusal."""
    with opened(method, url, token=token, body=body, timeout=timeout, **params) as answer:
        try:
            return _json(answer.read())
        except (OSError, HTTPException) as error:
            raise Unanswered(_reason(error)) from error


@contextmanager
def opened(
    method: str, url: str, *, token: str = "", body: Any = None, timeout: float = 30, **params: Any
) -> Iterator[HTTPResponse]:
    """The answer while it comes; `timeout` is the longest silence. Raises Unanswered or Refusal."""
    query = urlencode({name: value for name, value in params.items() if value is not None}, doseq=True)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    if body is not None:
        headers["Content-Type"] = "application/json"
    data = None if body is None else json.dumps(body).encode()
    request = Request(f"{url}?{query}" if query else url, data, headers, method=method)  # noqa: S310
    try:
        answer = _opener(url).open(request, timeout=timeout)
    except HTTPError as error:
        with error:
            raise Refusal(error.code, _json(error.read())) from error
    except (OSError, HTTPException, ValueError) as error:
        raise Unanswered(_reason(error)) from error
    with answer:
        yield answer


def _opener(url: str) -> OpenerDirector:
    """Proxies as the environment names them, but none on the way to this machine itself."""
    own = urlsplit(url).hostname in _LOOPBACK
    return build_opener(_Stay, ProxyHandler({})) if own else build_opener(_Stay)


def _json(data: bytes) -> Any:
    try:
        return json.loads(data) if data else None
    except ValueError:
        return data.decode(errors="replace")


def _reason(error: Exception) -> str:
    cause = getattr(error, "reason", None) or error
    return str(getattr(cause, "strerror", None) or cause or type(cause).__name__)
