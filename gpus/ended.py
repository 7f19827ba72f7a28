"""Which engines of this node we ended ourselves, kept in a file between two runs: a planned stop is not a crash."""

from collections.abc import Iterable

from django.conf import settings

_NAME = "engines_ended"


def remember(markers: Iterable[str]) -> None:
    """Add these engines, `<replica id>:<generation>`, to those that we end."""
    known = remembered() | set(markers)
    path = settings.DATA_DIR / _NAME
    draft = path.with_suffix(".new")
    draft.write_text("".join(f"{marker}\n" for marker in sorted(known)))
    draft.replace(path)


def remembered() -> frozenset[str]:
    """Those that were ended; none where nobody was asked to."""
    try:
        return frozenset((settings.DATA_DIR / _NAME).read_text().split())
    except FileNotFoundError:
        return frozenset()


def forget() -> None:
    """What followed from their end has been done."""
    (settings.DATA_DIR / _NAME).unlink(missing_ok=True)
