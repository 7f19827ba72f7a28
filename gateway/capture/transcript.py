"""Bytes of a call as text for people: short, redacted, and with a word on what is missing.

Redaction comes before shortening. Of a text too long to be read whole, both ends are taken with a wide margin; the
margin is redacted with them and cut away after that, so that what crosses its border is not shown.
"""

import re
from typing import Any

import msgspec
from python_multipart.multipart import parse_options_header

from gateway.capture.redaction import RUN_CHARS, after_cut, before_cut, redact
from gateway.wire.copies import Kept

SHOWN_BYTES = 16 * 1024
"""Of a text that is kept."""

_HALF = SHOWN_BYTES // 2
_MARGIN = 24 * 1024
_WINDOW = 128 * 1024
_RUN_BYTES = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=_-"
_LONG_RUN = re.compile(rb"[A-Za-z0-9+/=_-]{%d,}+" % RUN_CHARS)
_MORE_OF_IT = re.compile(rb"[A-Za-z0-9+/=_-]*+")
_LATER_PARTS = re.compile(rb"(?:\.[A-Za-z0-9_-]{16,}+)*+")
_DATA_URL = re.compile(rb"data:([\w.+-]{1,100}+/[\w.+-]{1,100}+)(?:;[\w.=+-]{1,100}?){0,4};base64,\Z")
_DATA_URL_BYTES = 600
_EVENTS = (b"data:", b"event:", b":", b"id:", b"retry:")
_PLACES = ("type", "index", "output_index", "content_index", "item_id")
_GROWING = frozenset(
    {"content", "text", "reasoning", "reasoning_content", "thinking", "delta", "arguments", "partial_json", "refusal"}
)
"""Strings that a stream tells piece by piece."""


def told(kept: Kept, content_type: bytes = b"") -> str:
    """The text to keep, hardly longer than SHOWN_BYTES."""
    head, tail, events = kept.head, kept.tail, False
    if content_type.lower().startswith(b"multipart/"):
        head, tail = _form(kept, content_type), b""
    elif events := head.lstrip().startswith(_EVENTS):
        head, tail = _stream(kept)
    first, last = _text(_squeezed(head)), _text(_squeezed(tail))
    if not tail and len(first) <= 2 * _MARGIN:
        return _shortened(redact(first))
    missing = kept.missing_bytes
    if not tail:
        first, last, missing = first[:_MARGIN], first[-_MARGIN:], missing + len(first) - 2 * _MARGIN
        events = False
    # The strings of a stream that was cut were trimmed already, unless they are cut once more.
    start = redact(first[:_MARGIN], cut_after=not events or len(first) > _MARGIN)
    end = redact(last[-_MARGIN:], cut_before=not events or len(last) > _MARGIN)
    return _joined(start, end, missing + len(first[_MARGIN:]) + len(last[:-_MARGIN]))


def _shortened(text: str) -> str:
    data = text.encode()
    if len(data) <= SHOWN_BYTES:
        return text
    return _joined(_first(text), _last(text), len(data) - SHOWN_BYTES)


def _joined(first: str, last: str, missing: int) -> str:
    start, end = _first(first), _last(last)
    missing += len(first) - len(start) + len(last) - len(end)
    return f"{start}\n[… {missing} bytes left out …]\n{end}"


def _first(text: str) -> str:
    return text.encode()[:_HALF].decode("utf-8", "ignore")


def _last(text: str) -> str:
    return text.encode()[-_HALF:].decode("utf-8", "ignore")


def _text(data: bytes) -> str:
    if b"\0" in data:
        return f"[{len(data)} bytes that are not text]"
    return data.decode("utf-8", "replace")


# --- pictures and sound ---------------------------------------------------------------------------------------------
def _squeezed(data: bytes) -> bytes:
    """Long runs of base64 as one word. A window at a time: other threads need the interpreter's lock in between."""
    if len(data) <= _MARGIN:
        return data
    data = data.replace(b"\\/", b"/")
    kept: list[bytes] = []
    place = 0
    while place < len(data):
        end = min(place + _WINDOW, len(data))
        run = _LONG_RUN.search(data, place, end)
        if run is None:
            border = max(end - RUN_CHARS, place)
            stop = end if end == len(data) else border + len(data[border:end].rstrip(_RUN_BYTES))
            kept.append(data[place:stop])
            place = stop
        else:
            stop = _run_end(data, run.end())
            kept.append(_named(data[place : run.start()], stop - run.start()))
            place = stop
    return b"".join(kept)


def _run_end(data: bytes, place: int) -> int:
    while (more := _MORE_OF_IT.match(data, place, place + _WINDOW)) is not None and more.end() > place:
        place = more.end()
    later = _LATER_PARTS.match(data, place, place + _WINDOW)
    return later.end() if later else place


def _named(before: bytes, encoded_bytes: int) -> bytes:
    """What precedes the run, then the run in a word; of a data URL its type."""
    start = max(len(before) - _DATA_URL_BYTES, 0)
    url = _DATA_URL.search(before, start)
    kind = url[1] if url else b"base64"
    return b"%b[%b, %d bytes]" % (before[: url.start()] if url else before, kind, encoded_bytes * 3 // 4)


def _form(kept: Kept, content_type: bytes) -> bytes:
    """A form as JSON: its fields as they are, of its files how large they are."""
    boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
    parts: dict[str, str] = {}
    for part in kept.head.split(b"--" + boundary)[1:] if boundary else ():
        head, _, data = part.partition(b"\r\n\r\n")
        lines = dict(line.split(b":", 1) for line in head.split(b"\r\n") if b":" in line)
        lines = {name.strip().lower(): value.strip() for name, value in lines.items()}
        _, options = parse_options_header(lines.get(b"content-disposition", b""))
        name = options.get(b"name", b"").decode("utf-8", "replace")
        data = data.removesuffix(b"\r\n")
        if b"filename" in options:
            kind = lines.get(b"content-type", b"file").decode("latin-1")
            parts[name] = f"[{kind}, {len(data)} bytes]" if not kept.tail else f"[{kind}]"
        elif name:
            parts[name] = data.decode("utf-8", "replace")
    return msgspec.json.encode(parts or f"[form, {len(kept.head) + len(kept.tail) + kept.missing_bytes} bytes]")


# --- streams --------------------------------------------------------------------------------------------------------
def _stream(kept: Kept) -> tuple[bytes, bytes]:
    """Its events put together; those that were cut in two are left out."""
    if not kept.tail:
        return _put_together(kept.head), b""
    head = _put_together(kept.head.rpartition(b"\n\n")[0], cut_after=True)
    return head, _put_together(kept.tail.partition(b"\n\n")[2], cut_before=True)


def _put_together(data: bytes, *, cut_before: bool = False, cut_after: bool = False) -> bytes:
    """Events as JSON, one line for each kind: what came in pieces in one piece, so that a secret in it is seen."""
    values: dict[Any, Any] = {}
    for number, event in enumerate(data.replace(b"\r\n", b"\n").split(b"\n\n")):
        text = b"\n".join(line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:"))
        if not text or text == b"[DONE]":
            continue
        try:
            value = msgspec.json.decode(text)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            value = {"unreadable": len(text)}
        if isinstance(value, dict):
            place = tuple(str(value.get(name)) for name in _PLACES)
            values[place] = _merged(values[place], value) if place in values else value
        else:
            values[number] = value
    lines = [_trimmed(value, cut_before=cut_before, cut_after=cut_after) for value in values.values()]
    return b"\n".join(map(msgspec.json.encode, lines))


def _merged(old: Any, new: Any, name: str = "") -> Any:
    """Objects field by field, items of lists by their `index`; strings that grow are joined, others replaced."""
    if isinstance(old, dict) and isinstance(new, dict):
        for field, value in new.items():
            old[field] = _merged(old[field], value, field) if field in old else value
        return old
    if isinstance(old, list) and isinstance(new, list):
        return _merged_lists(old, new)
    if isinstance(old, str) and isinstance(new, str) and name in _GROWING:
        return old + new
    return old if new is None or new == "" else new


def _merged_lists(old: list[Any], new: list[Any]) -> list[Any]:
    places = {item["index"]: at for at, item in enumerate(old) if isinstance(item, dict) and _numbered(item)}
    for item in new:
        if isinstance(item, dict) and _numbered(item) and item["index"] in places:
            at = places[item["index"]]
            old[at] = _merged(old[at], item)
        else:
            old.append(item)
    return old


def _numbered(item: dict[str, Any]) -> bool:
    return isinstance(item.get("index"), int)


def _trimmed(value: Any, name: str = "", *, cut_before: bool, cut_after: bool) -> Any:
    """Where the stream was cut, its strings may begin or end in the middle of something."""
    if not cut_before and not cut_after:
        return value
    if isinstance(value, dict):
        return {
            field: _trimmed(inner, field, cut_before=cut_before, cut_after=cut_after) for field, inner in value.items()
        }
    if isinstance(value, list):
        return [_trimmed(inner, name, cut_before=cut_before, cut_after=cut_after) for inner in value]
    if isinstance(value, str) and name in _GROWING:
        value = after_cut(value) if cut_before else value
        value = before_cut(value) if cut_after else value
    return value
