"""Five streams that others measure wrongly: each figure by hand beside ours."""

import json
from typing import Any

import pytest

from gateway.benchmark.load.answer import Answer
from gateway.benchmark.load.figures import Ledger, keeps
from gateway.benchmark.load.plan import Slo

PLANNED, SENT = 10.0, 10.5
ANYTHING = Slo()


def event(total: int | None = None, **delta: Any) -> bytes:
    """One event of a chat's stream; `total` is the engine's count of tokens up to here."""
    said: dict[str, Any] = {"choices": [{"index": 0, "delta": delta}]}
    if total is not None:
        said["usage"] = {"prompt_tokens": 7, "completion_tokens": total}
    return b"data: " + json.dumps(said).encode() + b"\n\n"


def usage(total: int) -> bytes:
    said = {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": total}}
    return b"data: " + json.dumps(said).encode() + b"\n\ndata: [DONE]\n\n"


ROLE = event(role="assistant", content="")


def streamed(*pieces: tuple[float, bytes], ends: float | None = None) -> Answer:
    """A call planned at 10, sent at 10.5, whose bytes came at these times."""
    answer = Answer(PLANNED)
    answer.sent_at, answer.status = SENT, 200
    for at, data in pieces:
        answer.read(data, at)
    if ends is not None:
        answer.end(ends)
    return answer


def figures(*answers: Answer, slo: Slo = ANYTHING) -> dict[str, Any]:
    ledger = Ledger(slo)
    for answer in answers:
        ledger.note(answer)
    return dict(ledger.figures())


def test_four_tokens_a_piece() -> None:
    answer = streamed(
        (11.0, event(4, content="one two three four")),
        (11.2, event(8, content="five six seven eight")),
        (11.6, event(12, content="nine ten eleven twelve") + usage(12)),
        ends=11.6,
    )
    found = figures(answer)
    times = found["times"]
    assert (found["completion_tokens"], found["pieces"]) == (12, 3)
    assert times["ttft"]["p50"] == pytest.approx(1.0)
    assert times["ttft_service"]["p50"] == pytest.approx(0.5)
    assert times["send_lag"]["p50"] == pytest.approx(0.5)
    # Pieces are 0.2 and 0.4 s apart; their eight tokens 0.05 s four times and 0.1 s four times.
    assert (times["chunk_gap"]["count"], times["chunk_gap"]["mean"]) == (2, pytest.approx(0.3))
    assert (times["itl"]["count"], times["itl"]["mean"], times["itl"]["max"]) == (8, *map(pytest.approx, (0.075, 0.1)))
    # 0.6 s after the first piece for the eight tokens that came after it.
    assert times["tpot"]["mean"] == pytest.approx(0.075)
    assert times["e2e"]["mean"] == pytest.approx(1.6)


def test_pieces_that_arrive_together_are_one_arrival() -> None:
    answer = streamed(
        (11.0, event(1, content="a") + event(2, content="b")),
        (11.3, event(3, content="c") + event(4, content="d") + event(5, content="e")),
        (11.4, event(6, content="f") + usage(6)),
        ends=11.4,
    )
    found = figures(answer)
    assert (answer.first_tokens, answer.pieces) == (2, 6)
    assert answer.gaps == [(pytest.approx(0.3), 3), (pytest.approx(0.1), 1)]
    assert found["times"]["itl"]["p50"] == pytest.approx(0.1)
    assert found["times"]["chunk_gap"]["max"] == pytest.approx(0.3)
    assert found["times"]["tpot"]["p50"] == pytest.approx(0.4 / 4)


def test_an_arrival_with_a_piece_that_nobody_counted_has_no_known_tokens() -> None:
    answer = streamed((11.0, event(1, content="a")), (11.3, event(2, content="b") + event(content="c")), ends=11.3)
    assert answer.gaps == [(pytest.approx(0.3), None)]


def test_reasoning_is_a_first_token_and_no_answer() -> None:
    answer = streamed(
        (11.0, ROLE),
        (11.1, event(1, reasoning_content="hm")),
        (11.2, event(2, reasoning="well")),
        (12.0, event(3, content="yes") + usage(3)),
        ends=12.0,
    )
    times = figures(answer)["times"]
    assert times["ttft"]["p50"] == pytest.approx(1.1)
    assert times["answer"]["p50"] == pytest.approx(2.0)
    assert times["itl"]["max"] == pytest.approx(0.8)


def test_a_tool_call_is_an_answer() -> None:
    answer = streamed((11.0, ROLE), (11.5, event(3, tool_calls=[{"index": 0}]) + usage(3)), ends=11.5)
    times = figures(answer)["times"]
    assert (times["ttft"]["p50"], times["answer"]["p50"]) == (pytest.approx(1.5), pytest.approx(1.5))


def test_the_role_alone_is_no_token() -> None:
    answer = streamed(
        (10.6, ROLE),
        (11.0, event(1, content="a")),
        (11.1, event(2, content="b") + usage(2)),
        ends=11.1,
    )
    times = figures(answer)["times"]
    assert (answer.pieces, times["ttft"]["p50"]) == (2, pytest.approx(1.0))
    assert times["tpot"]["mean"] == pytest.approx(0.1)


def test_without_usage_nothing_is_guessed() -> None:
    answer = streamed(
        (11.0, event(content="a b c d")),
        (11.4, event(content="e f g h") + b"data: [DONE]\n\n"),
        ends=11.4,
    )
    found = figures(answer)
    assert (found["ok"], found["unknown_tokens"], found["completion_tokens"], found["pieces"]) == (1, 1, 0, 2)
    assert found["times"]["chunk_gap"]["mean"] == pytest.approx(0.4)
    assert found["times"]["itl"]["count"] == found["times"]["tpot"]["count"] == 0


def test_usage_at_the_end_alone_tells_tpot_and_no_gap_of_a_token() -> None:
    answer = streamed((11.0, event(content="a")), (11.4, event(content="b c d e") + usage(5)), ends=11.4)
    times = figures(answer)["times"]
    assert times["tpot"]["mean"] == pytest.approx(0.1)  # 0.4 s for four tokens after the first
    assert times["itl"]["count"] == 0


def test_a_stream_that_breaks_counts_as_failed_and_stays_in_the_percentiles() -> None:
    good = [streamed((10.6, event(1, content="a") + usage(1)), ends=10.6) for _ in range(9)]
    broken = streamed((11.0, event(1, content="a")))
    broken.fail("connection_lost", 11.3)
    found = figures(*good, broken)
    assert (found["calls"], found["ok"], found["failed"]) == (10, 9, {"connection_lost": 1})
    e2e = found["times"]["e2e"]
    assert (e2e["count"], e2e["never"]) == (9, 1)
    assert e2e["p50"] == pytest.approx(0.6)
    assert e2e["p95"] is None  # among ten the 95th percentile lies with the one that never ended
    assert found["times"]["ttft"]["max"] == pytest.approx(1.0)  # what came of the broken one stands


def test_a_stream_that_ends_in_good_order_without_its_last_event_is_incomplete() -> None:
    assert streamed((11.0, event(1, content="a")), ends=11.1).code == "answer_incomplete"


def test_an_error_event_tells_its_code() -> None:
    failing = b'data: {"error": {"code": "queue_timeout", "message": "no seat"}}\n\ndata: [DONE]\n\n'
    answer = streamed((11.0, failing), ends=11.0)
    assert (answer.code, answer.message) == ("queue_timeout", "no seat")


def test_a_refusal_is_told_by_its_code_or_its_status() -> None:
    for body, code in (
        (b'{"error": {"code": "model_not_found", "message": "?"}}', "model_not_found"),
        (b"?", "http_404"),
    ):
        answer = Answer(PLANNED)
        answer.status = 404
        answer.read(body, 11.0)
        answer.end(11.0)
        assert answer.code == code


def test_events_may_be_cut_anywhere() -> None:
    data = event(1, content="a") + event(2, content="b") + usage(2)
    whole = streamed((11.0, data), ends=11.0)
    cut = streamed(*((11.0, data[place : place + 1]) for place in range(len(data))), ends=11.0)
    assert (cut.pieces, cut.completion_tokens, cut.code) == (whole.pieces, whole.completion_tokens, "") == (2, 2, "")


def test_what_an_slo_asks_is_asked_of_each_call() -> None:
    answer = streamed((11.0, event(1, content="a")), (11.1, event(2, content="b") + usage(2)), ends=11.1)
    assert keeps(Slo(ttft_seconds=1.0, itl_seconds=0.11, tpot_seconds=0.11, e2e_seconds=1.11), answer)
    assert not keeps(Slo(ttft_seconds=0.9), answer)
    assert not keeps(Slo(itl_seconds=0.09), answer)
    assert not keeps(Slo(tpot_seconds=0.09), answer)
    assert not keeps(Slo(e2e_seconds=1.0), answer)
    assert figures(answer, slo=Slo(ttft_seconds=0.5))["goodput_ratio"] == 0.0
