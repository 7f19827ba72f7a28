"""What the Hugging Face Hub tells of a model without a byte of its weights: config.json, and the headers of its
safetensors files by range requests.

`HF_ENDPOINT`, `HF_TOKEN` and `HF_HUB_OFFLINE` mean what they mean to the engines; without an `HF_TOKEN` of our own a
runtime's is used. Where the Hub cannot be reached, nobody asks again for a minute, so that an installation without a
way out does not wait at every question.
"""

import json
import os
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Final, TypedDict
from urllib.parse import quote

import httpx2

from models_app.catalogue import config, safetensors
from models_app.catalogue.reading import Unusable
from models_app.models import EngineRuntime

_KEPT_SECONDS: Final = 600.0
_AGAIN_SECONDS: Final = 60.0
_TIMEOUT: Final = httpx2.Timeout(5.0, connect=2.0)
_JSON_LIMIT: Final = 64 * 2**20
_HEAD_BYTES: Final = 2**20
"""Asked of each file at once: most headers are shorter, and the rest is asked for with a second request."""
_FILES: Final = 2000
_TRUE: Final = ("1", "on", "yes", "true")
_STATUS: Final = {
    401: "the Hugging Face Hub wants a token for it: give one on the Settings page, or set HF_TOKEN",
    403: "the Hugging Face Hub does not let this token read it: ask for access, or give another one in Settings",
    404: "the Hugging Face Hub has no such model or revision",
}


TOKENS: Final = ("server", "runtime", "none")
"""Whose token the Hub is asked with."""


class HubRow(TypedDict):
    """How the Hub is asked; the token itself is nobody's to see."""

    endpoint: str
    offline: bool
    token: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A model's facts, or why there are none."""

    facts: dict[str, Any] = field(default_factory=dict)
    why: str = ""


class _Unreachable(Exception):
    """Nothing answers; the message says what was tried."""


_answers: dict[tuple[str, str, str], tuple[float, Answer]] = {}
_lock: Final = threading.Lock()


def ask(source: str, revision: str = "") -> Answer:
    """The facts of a model by its id, remembered for a while."""
    if _offline():
        return Answer(why="HF_HUB_OFFLINE is set, so the Hugging Face Hub is not asked")
    endpoint = _endpoint()
    known = _remembered((endpoint, source, revision)) or _remembered((endpoint, "", ""))
    if known is not None:
        return known
    try:
        with httpx2.Client(base_url=endpoint, headers=_headers(), timeout=_TIMEOUT, follow_redirects=True) as client:
            answer = Answer(_facts(client, source, revision or "main"))
    except Unusable as error:
        answer = Answer(why=str(error))
    except _Unreachable as error:
        answer = Answer(why=f"the Hugging Face Hub cannot be reached from here ({error})")
        _remember((endpoint, "", ""), answer, _AGAIN_SECONDS)
    _remember((endpoint, source, revision), answer, _KEPT_SECONDS if answer.facts else _AGAIN_SECONDS)
    return answer


def shown() -> HubRow:
    """How the Hub is asked now."""
    return {"endpoint": _endpoint(), "offline": _offline(), "token": _token()[1]}


def forget() -> None:
    """Ask anew whatever is asked next."""
    with _lock:
        _answers.clear()


def _remembered(key: tuple[str, str, str]) -> Answer | None:
    with _lock:
        until, answer = _answers.get(key, (0.0, None))
    return answer if time.monotonic() < until else None


def _remember(key: tuple[str, str, str], answer: Answer, seconds: float) -> None:
    with _lock:
        if len(_answers) > 1000:
            _answers.clear()
        _answers[key] = (time.monotonic() + seconds, answer)


def _offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").lower() in _TRUE


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or "https://huggingface.co"


def _token() -> tuple[str, str]:
    """The token, and whose it is. A runtime's that is meant for another Hub than ours is not sent to ours."""
    if own := os.environ.get("HF_TOKEN", "").strip():
        return own, "server"
    for environment in EngineRuntime.objects.order_by("name").values_list("environment", flat=True):
        here = environment.get("HF_ENDPOINT", "").rstrip("/") in ("", _endpoint())
        if here and (kept := environment.get("HF_TOKEN", "").strip()):
            return kept, "runtime"
    return "", "none"


def _headers() -> dict[str, str]:
    token, _ = _token()
    return {"authorization": f"Bearer {token}"} if token else {}


def _facts(client: httpx2.Client, source: str, revision: str) -> dict[str, Any]:
    told = _object(_get(client, f"/{source}/resolve/{quote(revision, safe='')}/config.json").content, "config.json")
    if wrong := config.wrong_field(told):
        raise Unusable(f"config.json: {wrong}")
    found = {name: value for name, value in config.facts(told).items() if not name.startswith("weights_")}
    by_dtype: dict[str, int] = {}
    for file in _weight_files(client, source, revision):
        header, _ = _header(client, f"/{source}/resolve/{quote(revision, safe='')}/{quote(file)}", file)
        for first, last, dtype in safetensors.tensors(file, header):
            by_dtype[dtype] = by_dtype.get(dtype, 0) + last - first
    return found | {"weights_bytes": sum(by_dtype.values()), "weights_by_dtype": by_dtype} if by_dtype else found


def _weight_files(client: httpx2.Client, source: str, revision: str) -> list[str]:
    """The files an engine would load: one set of shards, also where the same weights lie there twice."""
    about = _object(_get(client, f"/api/models/{source}/revision/{quote(revision, safe='')}").content, "its page")
    siblings = about.get("siblings")
    names = [one.get("rfilename") for one in siblings if isinstance(one, dict)] if isinstance(siblings, list) else []
    files = sorted(
        name for name in names if isinstance(name, str) and name.endswith(".safetensors") and "/" not in name
    )
    whole = [name for name in files if name.startswith("consolidated")]
    return (whole if whole and "params.json" in names else [name for name in files if name not in whole])[:_FILES]


def _header(client: httpx2.Client, path: str, file: str) -> tuple[dict[str, Any], int]:
    raw = _get(client, path, first=0, last=_HEAD_BYTES - 1).content
    size = safetensors.header_length(file, raw[:8])
    if len(raw) < 8 + size:
        raw += _get(client, path, first=len(raw), last=7 + size).content
    return safetensors.header(file, raw[8 : 8 + size], size), 8 + size


def _get(client: httpx2.Client, path: str, *, first: int | None = None, last: int = 0) -> httpx2.Response:
    """One answer, or the part of it that was asked for: what comes beyond that part is not read."""
    headers = {} if first is None else {"range": f"bytes={first}-{last}"}
    limit = _JSON_LIMIT if first is None else last - first + 1
    try:
        with client.stream("GET", path, headers=headers) as answer:
            if answer.status_code >= 400:
                raise Unusable(_STATUS.get(answer.status_code, f"the Hub answers {answer.status_code}"))
            if first and answer.status_code != 206:
                raise Unusable("the Hub does not answer with a part of a file")
            read = bytearray()
            for chunk in answer.iter_bytes():
                read += chunk
                if len(read) >= limit:
                    break
    except httpx2.HTTPError as error:
        raise _Unreachable(type(error).__name__) from error
    return httpx2.Response(answer.status_code, content=bytes(read[:limit]))


def _object(text: bytes, name: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unusable(f"{name} cannot be read: it is not JSON") from error
    if not isinstance(found, dict):
        raise Unusable(f"{name} cannot be read: it is not a JSON object")
    return found
