"""Takes secrets out of text before it is kept. Free text stays: only what looks like a secret can be found.

Every search is linear: repetitions are possessive or bounded, and what has no bound is walked over once. Text is what
stands in bodies, mostly JSON, so that a line break before a key may be the two characters `\\n`.
"""

import re
from collections.abc import Callable, Iterator

HIDDEN = "[redacted]"
RUN_CHARS = 256
"""A run of base64 as long as this is data, not a word."""
UNSURE_CHARS = 256
"""So many characters after a cut may belong to something whose beginning was cut away."""
MOST_UNSURE_CHARS = 4096

_START = r"(?:(?<![A-Za-z0-9_-])|(?<=\\[bfnrt]))"
_KEY_SHAPES = re.compile(
    _START + r"(?:(?:sk|pk|rk)[-_][A-Za-z0-9_-]{12,}+|eyJ[A-Za-z0-9_-]{8,}+(?:\.[A-Za-z0-9_=-]*+){1,4})"
    r"|hf_[A-Za-z0-9]{16,}+|gh[opsur]_[A-Za-z0-9]{16,}+|github_pat_\w{16,}+|glpat-[\w-]{16,}+"
    r"|(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{12,}+|AIza[\w-]{30,}+|ya29\.[\w.-]{16,}+|xox[abeoprs]-[\w-]{10,}+"
    r"|(?:npm|gsk|whsec|dop_v1)_\w{16,}+|(?:pypi|nvapi|xai)-[\w-]{16,}+|SG\.[\w-]{16,}+\.[\w-]{16,}+",
    re.ASCII,
)
_BEARER = re.compile(r"(?i)(bearer\s{1,8}+)([A-Za-z0-9._~+/=-]{16,}+)", re.ASCII)
_HEADER = re.compile(
    r"(?i)(authorization\s?[=:]\s?(?:(?:bearer|basic|digest|token)\s{1,8}+)?)([^\s\"'\\,;]++)|(cookie:\s?)([^\"\\\r\n]++)",
    re.ASCII,
)
_ASSIGNED = re.compile(
    r"(?i)((?:(?:pass(?:word|wd|phrase)|secret|(?:api|access|secret|private)[_-]?key)\s?[=:]|token=)\s?)"
    r"((?!None\b|null\b|true\b|false\b)[^\s\"'\\,;&)}\]\[]{4,}+)",
    re.ASCII,
)
_LOGIN = re.compile(r"(://[^\s/:@\"'\\]{1,256}+:)([^\s/@\"'\\]{1,256}+)(?=@)")
_DATA_URL = re.compile(r"data:([\w.+-]{1,100}+/[\w.+-]{1,100}+)(?:;[\w.=+-]{1,100}+){0,4}+,([^\s\"'\\)>]*+)", re.ASCII)
_RUN = re.compile(rf"[A-Za-z0-9+/=_-]{{{RUN_CHARS},}}+(?:\.[A-Za-z0-9_-]{{16,}}+)*+", re.ASCII)
_MAIL = re.compile(r"[\w.%+-]{1,64}@(?:[\w-]{1,63}+\.){1,8}[A-Za-z]{2,24}+")
_PEM_BEGIN = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_PEM_END = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")

_COLON = re.compile(r"([\"'])\s*+:\s*+")
_SECRET_NAME = re.compile(
    r"(?i)(?:pass(?:word|wd|phrase|code)s?(?:[_-][\w-]{1,32})?|secrets?(?:[_-][\w-]{1,32})?|credentials?|cookies?|token"
    r"|authorization|(?:api|access|account|auth|client|encryption|private|secret|signing|subscription)[_-]?keys?)\Z",
    re.ASCII,
)
_FRAGMENTS = re.compile(r"(?:logprobs|token_strs|\bbytes)\Z")
"""Fields that say the answer again in pieces too small to be recognised."""
_SCALAR = re.compile(r"(?!null|true|false)[^\s,\]}\"'\\\[{]++")
_STEP = re.compile(r"[\"\[\]{}]")
_BREAK = re.compile(r"[\s\"]")


def redact(text: str, *, cut_before: bool = False, cut_after: bool = False) -> str:
    """The text without secrets. Where it was cut at one of its ends, what may be part of one goes there, too."""
    text = _without_private_keys(text)
    text = _without_secret_fields(text)
    lowered = text.lower()
    for marks, pattern, replacement in _SEARCHES:
        if any(mark in lowered for mark in marks):
            text = pattern.sub(replacement, text)
    if cut_before:
        text = after_cut(text)
    return before_cut(text) if cut_after else text


def after_cut(text: str) -> str:
    """What follows a cut, from the first break that is far enough from it."""
    word_end = _BREAK.search(text, UNSURE_CHARS, MOST_UNSURE_CHARS)
    return text[word_end.start() if word_end else MOST_UNSURE_CHARS :]


def before_cut(text: str) -> str:
    """What precedes a cut, up to the last break."""
    places = [text.rfind(mark, -MOST_UNSURE_CHARS) for mark in (" ", "\n", '"')]
    return text[: max(places) + 1] if max(places) >= 0 else text[:-MOST_UNSURE_CHARS]


def _after_its_name(match: re.Match[str]) -> str:
    return f"{match[match.lastindex - 1]}{HIDDEN}" if match.lastindex else HIDDEN


def _data(match: re.Match[str]) -> str:
    return _size(match[1], match[2])


def _size(kind: str, encoded: str) -> str:
    return f"[{kind}, {len(encoded.rstrip('=')) * 3 // 4} bytes]"


def _mail(match: re.Match[str]) -> str:
    """`\\nbob@example.com` in JSON begins with a line break, not with an n."""
    escaped = match.start() > 0 and match.string[match.start() - 1] == "\\" and match[0][0] in "bfnrt"
    return f"{match[0][0]}[e-mail]" if escaped else "[e-mail]"


_KEY_MARKS = (
    "sk-",
    "sk_",
    "pk-",
    "pk_",
    "rk-",
    "rk_",
    "eyj",
    "hf_",
    "gho_",
    "ghp_",
    "ghs_",
    "ghu_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "akia",
    "asia",
    "aroa",
    "aida",
    "aiza",
    "ya29.",
    "xox",
    "npm_",
    "gsk_",
    "whsec_",
    "dop_v1_",
    "pypi-",
    "nvapi-",
    "xai-",
    "sg.",
)
_NAME_MARKS = (
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token=",
    "_key",
    "-key",
    "apikey",
    "accesskey",
    "privatekey",
)
_SEARCHES: tuple[tuple[tuple[str, ...], re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (("data:",), _DATA_URL, _data),
    (_KEY_MARKS, _KEY_SHAPES, HIDDEN),
    (("",), _RUN, lambda match: _size("base64", match[0])),
    (("authorization", "cookie"), _HEADER, _after_its_name),
    (("bearer",), _BEARER, _after_its_name),
    (_NAME_MARKS, _ASSIGNED, _after_its_name),
    (("://",), _LOGIN, _after_its_name),
    (("@",), _MAIL, _mail),
)
"""In their order. A plain search for what a pattern needs costs a thousandth of the pattern."""


def _without_private_keys(text: str) -> str:
    """One without an end goes on to the end of the text; one without a beginning began before it."""
    kept, place = [], 0
    begin, end = _PEM_BEGIN.search(text), _PEM_END.search(text)
    if end and (begin is None or end.start() < begin.start()):
        kept, place = ["[private key]"], end.end()
    while begin := _PEM_BEGIN.search(text, place):
        end = _PEM_END.search(text, begin.end())
        kept += [text[place : begin.start()], "[private key]"]
        place = end.end() if end else len(text)
    return "".join((*kept, text[place:]))


# --- fields of JSON -------------------------------------------------------------------------------------------------
def _without_secret_fields(text: str) -> str:
    """Values of fields named like secrets; JSON inside strings of JSON is read as well."""
    kept, place = [], 0
    for start, end in _secret_values(text):
        kept += [text[place:start], HIDDEN]
        place = end
    return "".join((*kept, text[place:]))


def _secret_values(text: str) -> Iterator[tuple[int, int]]:
    """Where they are, in order."""
    place = 0
    while colon := _COLON.search(text, place):
        place = colon.end()
        name = text[max(0, colon.start() - 80) : colon.start()].rstrip("\\")
        name = name[name.rfind(colon[1]) + 1 :]
        secret = _SECRET_NAME.search(name) is not None
        if secret or _FRAGMENTS.search(name):
            start, end = _value(text, place, strings=secret)
            if end > start:
                yield start, end
            place = max(place, end)


def _value(text: str, place: int, *, strings: bool) -> tuple[int, int]:
    """From where to where to hide; nothing for an object, whose fields have names of their own."""
    start = place
    while text[start : start + 1] == "\\":
        start += 1
    first = text[start : start + 1]
    if first == "[" or (first == "{" and not strings):
        return place, _bracket_end(text, start, _level(text, place))
    if not strings or first == "{":
        return place, place
    if first and first in "\"'":
        return start + 1, _string_end(text, start + 1, first, start - place)
    scalar = _SCALAR.match(text, place)
    return place, scalar.end() if scalar else place


def _level(text: str, colon_end: int) -> int:
    """How many backslashes stand before quotes here: those before the quote that ended the name."""
    quote = max(text.rfind('"', 0, colon_end), text.rfind("'", 0, colon_end))
    return _backslashes(text, quote)


def _string_end(text: str, place: int, quote: str, level: int) -> int:
    """Where the string ends that began before `place` by a quote after `level` backslashes; else the end of all."""
    while (place := text.find(quote, place)) >= 0:
        before = _backslashes(text, place)
        if before < level or before % (2 * level + 2) == level:
            return place - min(before, level)
        place += 1
    return len(text)


def _bracket_end(text: str, place: int, level: int) -> int:
    """After the bracket that closes the one at `place`; else the end of all."""
    depth = 0
    while step := _STEP.search(text, place):
        place = step.end()
        if step[0] == '"':
            if _backslashes(text, step.start()) < level:
                return step.start()
            place = _string_end(text, place, '"', level) + level + 1
        else:
            depth += 1 if step[0] in "[{" else -1
            if depth == 0:
                return place
    return len(text)


def _backslashes(text: str, place: int) -> int:
    """How many stand right before it."""
    first = place
    while first > 0 and text[first - 1] == "\\":
        first -= 1
    return place - first
