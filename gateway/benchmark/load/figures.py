"""What the calls of one stream came to. The words of each figure: docs/benchmarks.md."""

from collections import Counter
from typing import TypedDict

from gateway.benchmark.load.answer import Answer
from gateway.benchmark.load.plan import Slo
from gateway.benchmark.load.sample import Distribution, Sample

TIMES = ("ttft", "ttft_service", "answer", "e2e", "e2e_service", "tpot", "itl", "chunk_gap", "send_lag")


class Figures(TypedDict):
    """One stream's figures. Times are distributions of seconds."""

    calls: int
    ok: int
    failed: dict[str, int]
    """Calls by why they failed; `cut_off` are those that the end of the run ended."""
    messages: dict[str, str]
    """What was said with the first of each."""
    good: int | None
    """Calls that kept the SLO; None where there is none."""
    goodput_ratio: float | None
    window_seconds: float
    requests_per_second: float | None
    output_tokens_per_second: float | None
    prompt_tokens: int
    completion_tokens: int
    unknown_tokens: int
    """Good calls whose tokens the engine did not say."""
    pieces: int
    times: dict[str, Distribution]


class Ledger:
    """Measured calls are noted one by one as they end."""

    def __init__(self, slo: Slo) -> None:
        self._slo = slo
        self._has_slo = slo != Slo()
        self.samples = {name: Sample() for name in TIMES}
        self.failed: Counter[str] = Counter()
        self.messages: dict[str, str] = {}
        self.calls = self.ok = self.good = 0
        self.prompt_tokens = self.completion_tokens = self.unknown_tokens = self.pieces = 0
        self.began_at: float | None = None
        self.ended_at = 0.0

    def note(self, answer: Answer) -> None:
        """One call has ended, well or not."""
        self.calls += 1
        self.began_at = answer.planned_at if self.began_at is None else min(self.began_at, answer.planned_at)
        self.ended_at = max(self.ended_at, answer.ended_at)
        self.samples["send_lag"].add(max(answer.sent_at - answer.planned_at, 0.0))
        self.prompt_tokens += answer.prompt_tokens or 0
        self.completion_tokens += answer.completion_tokens or 0
        self.pieces += answer.pieces
        self._note_times(answer)
        if answer.ok:
            self.ok += 1
            self.unknown_tokens += answer.streams and answer.completion_tokens is None
            self.good += keeps(self._slo, answer)
        else:
            self.failed[answer.code] += 1
            self.messages.setdefault(answer.code, answer.message)

    def _note_times(self, answer: Answer) -> None:
        """Of a call that failed, what came stands; what did not come is later than everything."""
        planned, sent = answer.planned_at, answer.sent_at
        if answer.streams:
            self._note("ttft", answer.first_at, planned, expected=not answer.ok)
            self._note("ttft_service", answer.first_at, sent, expected=not answer.ok)
            self._note("answer", answer.first_answer_at, planned, expected=not answer.ok)
        whole = answer.ended_at if answer.ok else None
        self._note("e2e", whole, planned, expected=True)
        self._note("e2e_service", whole, sent, expected=True)
        if (tpot := tpot_seconds(answer)) is not None and answer.ok:
            self.samples["tpot"].add(tpot)
        for gap, tokens in answer.gaps:
            self.samples["chunk_gap"].add(gap)
            if tokens is not None:
                self.samples["itl"].add(gap / tokens, tokens)

    def _note(self, name: str, moment: float | None, since: float, *, expected: bool) -> None:
        if moment is not None:
            self.samples[name].add(moment - since)
        elif expected:
            self.samples[name].never += 1

    def figures(self) -> Figures:
        """All of it, as JSON keeps it."""
        window = self.ended_at - self.began_at if self.began_at is not None else 0.0
        return Figures(
            calls=self.calls,
            ok=self.ok,
            failed=dict(self.failed.most_common()),
            messages={code: text for code, text in self.messages.items() if text},
            good=self.good if self._has_slo else None,
            goodput_ratio=self.good / self.calls if self._has_slo and self.calls else None,
            window_seconds=window,
            requests_per_second=self.ok / window if window else None,
            output_tokens_per_second=self.completion_tokens / window if window else None,
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            unknown_tokens=self.unknown_tokens,
            pieces=self.pieces,
            times={name: sample.distribution() for name, sample in self.samples.items()},
        )


def tpot_seconds(answer: Answer) -> float | None:
    """From the first piece to the last, by the tokens that came after the first piece."""
    if answer.first_at is None or answer.last_at is None or answer.completion_tokens is None:
        return None
    after = answer.completion_tokens - (answer.first_tokens or 1)
    return (answer.last_at - answer.first_at) / after if after > 0 else None


def keeps(slo: Slo, answer: Answer) -> bool:
    """Whether a good call kept what was asked; what cannot be known was not kept."""
    tpot = tpot_seconds(answer)
    worst = max((gap / tokens for gap, tokens in answer.gaps if tokens), default=None)
    if worst is None and answer.pieces <= 1:
        worst = 0.0
    if tpot is None and answer.completion_tokens is not None and answer.pieces <= 1:
        tpot = 0.0
    asked = (
        (slo.ttft_seconds, None if answer.first_at is None else answer.first_at - answer.planned_at),
        (slo.itl_seconds, worst),
        (slo.tpot_seconds, tpot),
        (slo.e2e_seconds, answer.ended_at - answer.planned_at),
    )
    return all(limit is None or (value is not None and value <= limit) for limit, value in asked)
