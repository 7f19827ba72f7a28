"""A usage event that the client did not ask for is taken out, and no other byte changes."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.strip import HELD_BYTES, Strip

CHAT = b'data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
USAGE = b'data: {"id":"c","choices":[],"usage":{"prompt_tokens":7,"total_tokens":12,"completion_tokens":5}}\n\n'
DONE = b"data: [DONE]\n\n"
TALK = b'data: {"choices":[{"delta":{"content":"\\"choices\\":[] and \\"usage\\":{}"}}]}\n\n'
KEPT = [
    CHAT,
    TALK,
    b": a comment\n\n",
    b'data: {"choices":[],"prompt_filter_results":[]}\n\n',
    b'data: {"choices":[],"usage":null}\n\n',
    b'data: {"choices":[{"delta":{"content":"x"}}],"usage":{"prompt_tokens":1}}\n\n',
    b'data: {"error":{"message":"\\"choices\\":[]"}}\n\n',
    b'event: message_delta\ndata: {"type":"message_delta","usage":{"output_tokens":3}}\n\n',
    b'data: {"choices":[],"usage":{"broken\n\n',
    b'data: {"choices":[],"usage":[1]}\n\n',
    b"data: [DONE]\r\n\r\n",
    b"\n\n",
]
REMOVED = [
    USAGE,
    b'data: { "choices" : [ ], "usage" : {} }\n\n',
    b'data: {"usage":{"prompt_tokens":1},"choices":[]}\r\n\r\n',
    b'id: 3\ndata: {"choices":[],\ndata: "usage":{"prompt_tokens":1}}\n\n',
]


def stripped(pieces: list[bytes]) -> bytes:
    strip = Strip()
    return b"".join([strip.feed(piece) for piece in pieces] + [strip.finish()])


def test_every_split_gives_the_same_bytes() -> None:
    stream = CHAT + TALK + USAGE + DONE
    wanted = CHAT + TALK + DONE
    for first in range(len(stream) + 1):
        assert stripped([stream[:first], stream[first:]]) == wanted
        for second in range(first, len(stream) + 1, 17):
            assert stripped([stream[:first], stream[first:second], stream[second:]]) == wanted
    assert stripped([bytes([byte]) for byte in stream]) == wanted


@pytest.mark.parametrize("event", KEPT)
def test_any_other_event_passes_at_every_split(event: bytes) -> None:
    stream = event + DONE
    for first in range(len(stream) + 1):
        assert stripped([stream[:first], stream[first:]]) == stream


@pytest.mark.parametrize("event", REMOVED)
def test_a_usage_event_goes_at_every_split(event: bytes) -> None:
    stream = CHAT + event + DONE
    for first in range(len(stream) + 1):
        assert stripped([stream[:first], stream[first:]]) == CHAT + DONE


@given(
    st.lists(st.sampled_from([(event, event) for event in KEPT] + [(event, b"") for event in REMOVED]), max_size=12),
    st.lists(st.integers(0, 2000), max_size=12),
)
def test_events_in_any_order_cut_anywhere(events: list[tuple[bytes, bytes]], cuts: list[int]) -> None:
    stream = b"".join(sent for sent, _ in events)
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    pieces = [stream[start:end] for start, end in itertools.pairwise(places)]
    assert stripped(pieces) == b"".join(kept for _, kept in events)


@given(st.binary(max_size=300), st.integers(0, 300))
def test_bytes_that_are_no_events_pass(data: bytes, cut: int) -> None:
    assert stripped([data[:cut], data[cut:]]) == data


def test_whole_events_are_not_held_back() -> None:
    strip = Strip()
    assert strip.feed(CHAT) == CHAT
    assert strip.feed(CHAT + CHAT[:20]) == CHAT
    assert strip.feed(CHAT[20:] + USAGE) == CHAT
    assert strip.feed(DONE) == DONE


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n"])
def test_an_endless_event_is_let_through_and_the_next_one_is_judged_again(end: bytes) -> None:
    stream = b'data: {"choices":[{"text":"' + b"x" * 3 * HELD_BYTES + b'"}]}' + end + USAGE + DONE
    strip, out, most = Strip(), b"", 0
    for start in range(0, len(stream), 1000):
        out += strip.feed(stream[start : start + 1000])
        most = max(most, start + 1000 - len(out))
    assert out + strip.finish() == stream.replace(USAGE, b"")
    assert most <= HELD_BYTES + 2000 + len(USAGE)
    for step in range(1, 5):
        pieces = [stream[start : start + step] for start in range(0, len(stream), step)]
        assert stripped(pieces) == stream.replace(USAGE, b"")


def test_a_usage_event_without_its_end_is_removed_and_half_a_one_is_not() -> None:
    assert stripped([CHAT, USAGE[:-2]]) == CHAT
    assert stripped([CHAT, USAGE[:40]]) == CHAT + USAGE[:40]
