"""What is taken out of a text before it is kept, and what stays."""

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.capture.redaction import redact
from gateway.capture.transcript import SHOWN_BYTES, Kept, told
from gateway.wire.copies import Copy

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA75\nAbCdEfGh12345678==\n-----END RSA PRIVATE KEY-----"
BASE64 = "iVBORw0KGgoAAAANSUhEUg" * 40

SHAPES = [
    "sk-proj-abcdefghijklmnop1234",
    "sk-srdz-a-key-for-inference",
    "sk_live_51Habcdefghijkl",
    "hf_AbCdEfGhIjKlMnOpQrSt",
    "ghp_AbCdEfGhIjKlMnOpQrStUvWx",
    "github_pat_11ABCDEFG0abcdefgh_xyz",
    "glpat-abcdefghijklmnop1234",
    "AKIAIOSFODNN7EXAMPLE",
    "AIzaSyA-1234567890abcdefghijklmnopqrstu",
    "xoxb-123456789012-abcdefghijkl",
    JWT,
]


@pytest.mark.parametrize("secret", SHAPES)
@pytest.mark.parametrize("around", ["use {} now", '"{}"', "\\n{}\\n", "key={}&x=1", "({}),", "{}", '\\"{}\\"', "\n{}"])
def test_known_shapes_of_keys_go(secret: str, around: str) -> None:
    told = redact(around.format(secret))
    assert secret[4:] not in told
    assert "[redacted]" in told


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Authorization: Bearer abc", "Authorization: Bearer [redacted]"),
        ("authorization: Basic dXNlcjpwYXNz", "authorization: Basic [redacted]"),
        ("curl -H 'x-api-key: abcd1234' x", "curl -H 'x-api-key: [redacted]' x"),
        ("Cookie: a=b; c=d\nHost: x", "Cookie: [redacted]\nHost: x"),
        ("the bearer abcdefghijklmnop0123 of it", "the bearer [redacted] of it"),
        ("password=hunter2 and", "password=[redacted] and"),
        ("DB_PASSWORD: hunter2", "DB_PASSWORD: [redacted]"),
        ("https://x/?api_key=abcd&y=1", "https://x/?api_key=[redacted]&y=1"),
        ("postgresql://me:hunter2@db/x", "postgresql://me:[redacted]@db/x"),
        ("mail bob.b+x@example.co.uk!", "mail [e-mail]!"),
        ("\\nbob@example.com", "\\n[e-mail]"),
        (f"see {PEM} there", "see [private key] there"),
        (f"see {PEM[:60]}", "see [private key]"),
        (f"{PEM[40:]} there", "[private key] there"),
    ],
)
def test_secrets_in_prose_go(text: str, kept: str) -> None:
    assert redact(text) == kept


@pytest.mark.parametrize(
    "name", ["password", "Token", "api_key", "x-api-key", "client_secret", "Authorization", "refresh_token", "apiKey"]
)
@pytest.mark.parametrize("value", ["hunter2", 'with "quotes" and \\', "two words\nand lines", "ünï"])
@pytest.mark.parametrize("depth", [0, 1, 2, 3])
@pytest.mark.parametrize("indent", [None, 2])
def test_fields_named_like_secrets_go_at_every_depth(name: str, value: str, depth: int, indent: int | None) -> None:
    text: object = {"before": "x", name: value, "after": "y"}
    for _ in range(depth):
        text = {"arguments": json.dumps(text, indent=indent)}
    shown: object = redact(json.dumps(text, indent=indent))
    for _ in range(depth):
        assert isinstance(shown, str)
        shown = json.loads(shown)["arguments"]
    assert isinstance(shown, str)
    assert json.loads(shown) == {"before": "x", name: "[redacted]", "after": "y"}


def test_lists_and_numbers_of_secrets_go_and_objects_are_looked_into() -> None:
    text = json.dumps({"secrets": ["a]", 'b"', {"c": 1}], "token": 1234, "credentials": {"password": "p", "user": "u"}})
    told = redact(text)
    assert (
        told == '{"secrets": [redacted], "token": [redacted], "credentials": {"password": "[redacted]", "user": "u"}}'
    )


def test_python_dictionaries_are_read_too() -> None:
    assert redact("{'password': 'hunter2', 'user': 'me'}") == "{'password': '[redacted]', 'user': 'me'}"


def test_what_says_the_answer_in_fragments_goes() -> None:
    tokens = [{"token": piece, "logprob": -1, "bytes": list(piece.encode())} for piece in ("sk-", "abc")]
    told = redact(json.dumps({"logprobs": {"content": tokens}, "text": "x"}))
    assert told == '{"logprobs": [redacted], "text": "x"}'
    assert redact(json.dumps({"logprobs": True, "top_logprobs": 5})) == '{"logprobs": true, "top_logprobs": 5}'


@pytest.mark.parametrize(
    "text",
    [
        '{"max_tokens": 16, "prompt_tokens": 7, "stream": true, "tokens": [1, 2]}',
        "risk-management-of-tasks, a skeleton and the bearer of news",
        "def f(token: str, secret=None): return 1",
        '{"type": "function", "properties": {"token": {"type": "string"}}}',
        "meet at 10:30 @ the office; a|b|c ---- ====",
        '{"password": null, "secret": false}',
        "word\\nword " * 100,
        "ein Wört mit Ümläuten und 漢字",
    ],
)
def test_the_rest_stays(text: str) -> None:
    assert redact(text) == text


def test_pictures_and_sound_become_a_word() -> None:
    url = f"data:image/png;base64,{BASE64}"
    size = len(BASE64) * 3 // 4
    body = {"content": [{"image_url": {"url": url}}, {"input_audio": {"data": BASE64, "format": "wav"}}]}
    first, second = json.loads(told(Kept(json.dumps(body).encode())))["content"]
    assert first == {"image_url": {"url": f"[image/png, {size} bytes]"}}
    assert second == {"input_audio": {"data": f"[base64, {size} bytes]", "format": "wav"}}


def test_text_after_a_large_picture_is_told() -> None:
    picture = {"url": "data:image/jpeg;base64," + "Ab1/" * 1_000_000}
    body = json.dumps({"messages": ["before", picture, "between", picture, "after"]})
    mark = "[image/jpeg, 3000000 bytes]"
    assert json.loads(told(Kept(body.encode()))) == {
        "messages": ["before", {"url": mark}, "between", {"url": mark}, "after"]
    }
    assert json.loads(told(Kept(body.replace("/", "\\/").encode())))["messages"][1] == {"url": mark}


def test_what_is_no_text_is_named() -> None:
    assert told(Kept(b"RIFF\x00\x01\xff")) == "[7 bytes that are not text]"
    assert told(Kept(b"")) == ""


@given(st.integers(0, 60_000), st.integers(0, 60_000))
@settings(max_examples=30, deadline=None)
def test_a_text_is_short_and_says_what_is_missing(before: int, after: int) -> None:
    text = "é " * before + "middle " + "é " * after
    shown = told(Kept(text.encode()))
    assert len(shown.encode()) <= SHOWN_BYTES + 60
    assert ("bytes left out" in shown) == (len(text.encode()) > SHOWN_BYTES)


WORDS = st.lists(st.sampled_from(["lorem", "ipsum,", "dolor\n", '"sit"', "{", "}", "\\", "amet", "é"]), max_size=30)
SECRETS = st.sampled_from([*SHAPES, PEM, f"Bearer {'x9' * 20}", "data:image/png;base64," + BASE64, "bob@example.com"])


def leaks(shown: str, secret: str) -> bool:
    """Whether more of it is there than its beginning, or the lines around it, which say of what kind it is."""
    core = "\n".join(line for line in secret.splitlines() if not line.startswith("-----"))
    pieces = [core[start : start + 12] for start in range(8, len(core) - 12, 4)]
    flat = shown.replace("\\n", "\n")
    return any(piece in flat for piece in pieces)


def pieces_of(text: str, sizes: list[int]) -> list[str]:
    found, place = [], 0
    for size in sizes:
        found.append(text[place : place + size])
        place += size
    return [*found, text[place:]]


@given(WORDS, SECRETS, WORDS, st.lists(st.integers(1, 40), max_size=40), st.integers(1, 200))
@settings(max_examples=200, deadline=None)
@example([], SHAPES[0], [], [4], 1)
def test_no_secret_of_a_stream_leaks_however_it_is_split(
    before: list[str], secret: str, after: list[str], sizes: list[int], wire: int
) -> None:
    text = " ".join([*before, secret, *after])
    events = [{"choices": [{"index": 0, "delta": {"content": piece}}]} for piece in pieces_of(text, sizes)]
    data = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events) + b"data: [DONE]\n\n"
    copy = Copy(frozenset({1}), (1,), lambda *_: None)
    for place in range(0, len(data), wire):
        copy.see(data[place : place + wire])
    assert not leaks(told(copy.kept()), secret)


@given(SECRETS, st.integers(-3000, 3000), st.sampled_from([8 * 1024, 16 * 1024, 32 * 1024, 64 * 1024, 128 * 1024]))
@settings(max_examples=60, deadline=None)
def test_no_secret_leaks_where_a_text_is_shortened(secret: str, offset: int, border: int) -> None:
    filler = "word " * (max(border + offset, 0) // 5)
    for rest in ("tail " * 10, "tail " * 3000, "tail " * 40_000):
        body = json.dumps({"prompt": filler + secret + " " + rest}).encode()
        assert not leaks(told(Kept(body)), secret)


@given(SECRETS, st.integers(1, 3000), st.integers(0, 3000))
@settings(max_examples=60, deadline=None)
@example(PEM, 417, 0)
def test_no_secret_leaks_where_bytes_were_left_out(secret: str, inside: int, missing: int) -> None:
    for before, after in (("w " * 20, " w" * 20), ("w " * 30_000, " w" * 30_000)):
        body = json.dumps({"prompt": before + secret + after}).encode()
        place = len(json.dumps(before)) + 12 + inside % len(secret)
        first, last = body[:place], body[place + missing % 3 :]
        assert not leaks(told(Kept(first, last, missing or 1)), secret)
        assert not leaks(told(Kept(first, body[len(body) - 200 :], missing or 1)), secret)


@pytest.mark.parametrize(
    "text",
    [
        "\\" * 60_000,
        '"' * 60_000,
        '"token":' * 8_000,
        "eyJ" * 20_000,
        "\\neyJ" * 12_000,
        "a@" * 30_000,
        "a." * 30_000,
        "://a:" * 12_000,
        "data:a/b;" * 7_000,
        "-----BEGIN PRIVATE KEY" * 3_000,
        "-----BEGIN PRIVATE KEY-----" * 2_400,
        "bearer " * 9_000,
        "password" * 8_000,
        '{"logprobs": [' * 4_000,
        '\\"secret\\": \\"' * 4_000,
        " " * 60_000,
    ],
)
def test_no_text_takes_for_ever(text: str) -> None:
    """Where the work grows faster than the text, this much of it takes longer than a test may."""
    assert SHAPES[0] not in redact(text * 16 + f" {SHAPES[0]} ")
