"""How long prompts and answers are, and prompts of a length."""

import math
import random

from gateway.benchmark.load.plan import Lengths

_TEXT = """
the of and to in is was for on that with as it by at from his are an were be this had not but or have which one you they
all also has been their there first more when out about up into time two after who may only new some could these many
then do over such any even most made well long part under work day place year back city world house school water light
night music book family country power side door head hand line river
"""
WORDS = _TEXT.split()
"""Words that are one token in nearly every vocabulary, with the space before them."""


def draw(lengths: Lengths, numbers: random.Random) -> int:
    """One length, at least one token."""
    if lengths.shape == "uniform":
        return numbers.randint(lengths.low or 1, lengths.high or lengths.tokens)
    if lengths.shape == "lognormal":
        drawn = round(math.exp(numbers.normalvariate(math.log(lengths.tokens), lengths.sigma)))
        return min(max(drawn, lengths.low or 1), lengths.high or drawn)
    return lengths.tokens


class Prompts:
    """Prompts of one stream: texts that were given, in turn, or words by chance after a beginning that all share."""

    def __init__(self, texts: tuple[str, ...], shared_ratio: float, numbers: random.Random) -> None:
        self._texts = texts
        self._shared_ratio = shared_ratio
        self._numbers = numbers
        self._shared: list[str] = []
        self.made = 0

    def take(self, tokens: int) -> str:
        """The next prompt; `tokens` is about its length where it is made up."""
        self.made += 1
        if self._texts:
            return self._texts[(self.made - 1) % len(self._texts)]
        shared = round(tokens * self._shared_ratio)
        while len(self._shared) < shared:
            self._shared.append(self._numbers.choice(WORDS))
        return " ".join([*self._shared[:shared], *self._numbers.choices(WORDS, k=tokens - shared)])

    @property
    def distinct_ratio(self) -> float:
        """Of the prompts so far: how large a part was asked for the first time."""
        return min(len(set(self._texts)) / self.made, 1.0) if self._texts and self.made else 1.0
