"""Log-probabilities as vLLM shows them, made up, and always the same for the same token at the same place."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from models_app.engines.simulator import text


@dataclass(frozen=True, slots=True)
class Scored:
    """A token, how likely it was, and the likelier or next likely ones with it, best first."""

    token: int
    logprob: float
    rank: int
    best: tuple[tuple[int, float], ...]

    def shown(self, count: int) -> dict[int, tuple[float, int]]:
        """The token first, then the best `count` that are not it: log-probability and rank by token."""
        found = {self.token: (self.logprob, self.rank)}
        for place, (token, logprob) in enumerate(self.best[:count], 1):
            found.setdefault(token, (logprob, place))
        return found


def score(token: int, place: int, *, sampled: bool, damage: float = 0.0) -> Scored:
    """How likely a token is where it stands; a sampled one is always the likeliest here."""
    source = text.digest(f"{place}:{token}")
    first = -0.05 - (source % 900) / 1000 - damage
    rank = 1 if sampled else 1 + source % 50
    words = [2 * ((source >> shift) % len(text.WORDS)) for shift in range(0, 40, 2)]
    others = [word for word in dict.fromkeys(words) if word != token]
    own = first - 0.1 * (rank - 1)
    best = [(token, own)] if rank == 1 else []
    best += [(word, first - 0.1 * (len(best) + step)) for step, word in enumerate(others)]
    return Scored(token, own, rank, tuple(best))


def of_chat(tokens: Sequence[int], start: int, top: int, *, as_numbers: bool, damage: float = 0.0) -> dict[str, Any]:
    """This is `choices[].logprobs` of a chat; `start` is the place of the first token, `top` the number of others."""

    def entry(token: int, logprob: float) -> dict[str, Any]:
        words = text.detokenize([token])
        name = f"token_id:{token}" if as_numbers else words
        return {"token": name, "logprob": logprob, "bytes": list(words.encode())}

    content = []
    for place, token in enumerate(tokens, start):
        scored = score(token, place, sampled=True, damage=damage)
        others = [entry(other, logprob) for other, logprob in scored.best[:top]]
        content.append({**entry(token, scored.logprob), "top_logprobs": others})
    return {"content": content}


def of_completion(
    tokens: Sequence[int],
    start: int,
    top: int,
    *,
    offset: int = 0,
    prompt_tokens: int = 0,
    as_numbers: bool = False,
    damage: float = 0.0,
) -> dict[str, Any]:
    """`choices[].logprobs` of a completion; the first `prompt_tokens` of `tokens` were read, not sampled."""
    shown: dict[str, list[Any]] = {"text_offset": [], "token_logprobs": [], "tokens": [], "top_logprobs": []}
    for place, token in enumerate(tokens):
        known = place or not prompt_tokens  # what came first cannot be rated
        scored = score(token, start + place, sampled=place >= prompt_tokens, damage=damage)
        words = text.detokenize([token])
        shown["text_offset"].append(offset)
        shown["token_logprobs"].append(scored.logprob if known else None)
        shown["tokens"].append(f"token_id:{token}" if as_numbers else words)
        rated = {_name(other, as_numbers): logprob for other, (logprob, _) in scored.shown(top).items()}
        shown["top_logprobs"].append(rated if known else None)
        offset += len(words)
    return shown


def of_prompt(tokens: Sequence[int], top: int) -> list[dict[str, Any] | None]:
    """`prompt_logprobs`: nothing for the first token, which nothing came before."""
    rated: list[dict[str, Any] | None] = [None]
    for place, token in enumerate(tokens[1:], 1):
        shown = score(token, place, sampled=False).shown(top)
        rated.append(
            {
                str(other): {"logprob": logprob, "rank": rank, "decoded_token": text.detokenize([other])}
                for other, (logprob, rank) in shown.items()
            }
        )
    return rated


def _name(token: int, as_numbers: bool) -> str:
    return f"token_id:{token}" if as_numbers else text.detokenize([token])
