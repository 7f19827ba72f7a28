"""Which pages may call from a browser: those of origins an operator has named. Browsers ask before they let a page
call, and show it an answer, errors included, only where that says so."""

from collections.abc import Collection

from gateway.wire.http import Reply, Request

ANY = b"*"
_USUAL_HEADERS = b"authorization, content-type"


def lines(origins: Collection[bytes], origin: bytes) -> bytes:
    """Header lines that let this origin's pages read an answer; of another origin, that the answer depends on it."""
    if ANY in origins:
        return b"access-control-allow-origin: *\r\naccess-control-expose-headers: *\r\n"
    allow = b"access-control-allow-origin: %b\r\naccess-control-expose-headers: *\r\n" % origin
    return (allow if origin in origins else b"") + b"vary: origin\r\n"


def preflight(origins: Collection[bytes], origin: bytes, request: Request, reply: Reply) -> bool:
    """Whether this was a browser's question before a call; it brings no key, and is answered."""
    wanted = request.headers.get(b"access-control-request-method")
    if request.method != b"OPTIONS" or wanted is None or not (ANY in origins or origin in origins):
        return False
    reply.extra = lines(origins, origin)
    headers = request.headers.get(b"access-control-request-headers", _USUAL_HEADERS)
    reply.whole(
        200,
        [
            (b"access-control-allow-methods", b"GET, POST, DELETE, OPTIONS"),
            (b"access-control-allow-headers", headers),
            (b"access-control-max-age", b"600"),
        ],
        b"",
    )
    return True
