"""Names that callers may use besides those of deployments. Whichever app gives such names says so as it is loaded."""

from collections.abc import Callable

given_elsewhere: list[Callable[[str], bool]] = []
"""Each tells whether a name is one that it gave."""


def is_taken(name: str) -> bool:
    """Whether a name answers for something that is no deployment."""
    return any(gave(name) for gave in given_elsewhere)
