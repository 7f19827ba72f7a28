"""An engine's extra arguments as argparse reads them. Pure."""

from collections.abc import Sequence


def written(extra_args: Sequence[str], name: str) -> str:
    """The value of a flag as it is written, as `--flag value` or `--flag=value`; the last one holds, "" is none."""
    found = ""
    for place, word in enumerate(extra_args):
        flag, equals, after = word.partition("=")
        if flag.replace("_", "-") == name:
            found = after if equals else next(iter(extra_args[place + 1 : place + 2]), "")
    return found


def has(extra_args: Sequence[str], name: str) -> bool:
    """Whether a flag is there, with a value or without."""
    return any(word.partition("=")[0].partition(".")[0].replace("_", "-") == name for word in extra_args)
