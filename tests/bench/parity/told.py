"""What a program says of a run, in the same words for all; and the table of several."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

OURS, VLLM, GUIDELLM = "ours", "vllm bench", "guidellm"


@dataclass(frozen=True, slots=True)
class Told:
    """One run as its program tells it, beside what the engine counted meanwhile. Times are milliseconds."""

    calls: int
    prompt_tokens: int
    output_tokens: int
    seconds: float
    times: Mapping[str, float]
    pieces: int = 0
    """Events with something in them, where it is told."""
    cpu_seconds: float = 0.0
    engine: Mapping[str, float] = field(default_factory=dict)
    """How much the engine's own counters grew."""
    engine_times: Mapping[str, float] = field(default_factory=dict)
    """The engine's own means of the same calls."""

    def line(self, name: str) -> float:
        """One figure of the table."""
        match name:
            case "calls":
                return self.calls
            case "prompt tokens":
                return self.prompt_tokens
            case "output tokens":
                return self.output_tokens
            case "calls/s":
                return self.calls / self.seconds
            case "output tokens/s":
                return self.output_tokens / self.seconds
            case "CPU, s":
                return self.cpu_seconds
        return self.engine[name] if name in self.engine else self.times[name]


COUNTS = ("calls", "prompt tokens", "output tokens", "calls/s", "output tokens/s")


def by_definition(mine: Told) -> dict[str, dict[str, float]]:
    """What ours comes to where another program means something else by a word: figure -> program -> our value.

    To `vllm bench` a piece is a token, however many it holds, and the role alone, which comes with the first token, is
    a piece as well. guidellm's time per output token runs from the sending.
    """
    gaps = (mine.output_tokens - mine.calls) / mine.pieces
    return {
        "itl mean": {VLLM: mine.times["itl mean"] * gaps},
        "per token mean": {GUIDELLM: mine.times["e2e mean"] * mine.calls / mine.output_tokens},
    }


def table(rounds: Mapping[str, Sequence[Told]]) -> str:
    """A line for each figure: the median of the rounds by program, and how far the others are from ours."""
    ours = rounds[OURS]
    programs = list(rounds)
    times = [name for name in ours[0].times if name != "per token mean"]
    heads = "".join(f"{name:>14}" + ("" if name == OURS else f"{'':9}") for name in programs)
    lines = [f"{'median of the rounds':28}{heads}"]
    figures = [*COUNTS, *sorted(ours[0].engine), *times]
    lines += [
        f"{name:28}" + _cells(rounds, name, statistics.median(one.line(name) for one in ours)) for name in figures
    ]
    for name, values in by_definition(ours[0]).items():
        for program in (each for each in values if each in rounds):
            mine = statistics.median(by_definition(one)[name][program] for one in ours)
            theirs = statistics.median(one.line(name) for one in rounds[program])
            lines.append(
                f"{name} as {program} means it: ours {mine:.2f}, theirs {theirs:.2f} ({theirs / mine - 1:+.1%})"
            )
    lines += _beside_engine(rounds)
    spread = [f"{name} {_spread(told, 'calls/s'):.1%}" for name, told in rounds.items()]
    return "\n".join([*lines, f"spread of calls/s over the rounds: {', '.join(spread)}"])


def _beside_engine(rounds: Mapping[str, Sequence[Told]]) -> list[str]:
    """Each program's means in parts of the engine's own of the same calls: a busy machine slows both alike."""
    lines = ["by the engine's own mean of the same calls:"]
    for name in rounds[OURS][0].engine_times:
        cells = ""
        for program, told in rounds.items():
            ratios = [one.times[name] / one.engine_times[name] for one in told]
            cells += f"{statistics.median(ratios):14.3f}" + ("" if program == OURS else f"{'':9}")
        lines.append(f"{name:28}{cells}")
    if len(lines) == 1:
        return []
    mine = [by_definition(one)["itl mean"][VLLM] / one.engine_times["itl mean"] for one in rounds[OURS]]
    pieces = sum(one.pieces for one in rounds[OURS]) / sum(one.output_tokens for one in rounds[OURS])
    meant = f"ours {statistics.median(mine):.3f}; {pieces:.3f} pieces a token"
    return [*lines, f"itl mean as {VLLM} means it: {meant}"]


def _cells(rounds: Mapping[str, Sequence[Told]], name: str, mine: float) -> str:
    cells = ""
    for program, told in rounds.items():
        values = [one.line(name) for one in told if name in one.times or name in one.engine or name in COUNTS]
        if not values:
            cells += f"{'-':>14}{'':9}"
            continue
        value = statistics.median(values)
        cells += f"{value:14.2f}" + ("" if program == OURS else f"{value / mine - 1:>+9.1%}" if mine else f"{'':9}")
    return cells


def _spread(told: Sequence[Told], name: str) -> float:
    values = [one.line(name) for one in told]
    return max(values) / min(values) - 1
