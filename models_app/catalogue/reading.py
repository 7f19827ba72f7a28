"""Files of a model folder as people really have them: pointers, halves, pages of an error. Pure, no Django."""

import json
from pathlib import Path
from typing import Any, Final

JSON_LIMIT: Final = 64 * 2**20
_POINTER: Final = b"version https://git-lfs.github.com/spec/"


class Unusable(ValueError):
    """No engine could load this folder; the message says why, and what to do."""


def beginning(file: Path, size: int) -> bytes:
    """The first bytes of a file. Raises Unusable for what is no file of the model, only its pointer."""
    try:
        with file.open("rb") as opened:
            found = opened.read(max(size, len(_POINTER)))
    except FileNotFoundError as error:
        raise Unusable(f"{file.name} is a link to a file that is not there") from error
    except OSError as error:
        raise Unusable(f"{file.name} cannot be read: {error.strerror}") from error
    if found.startswith(_POINTER):
        raise Unusable(f"{file.name} is a Git LFS pointer, not the file itself: run `git lfs pull` in the folder")
    return found[:size]


def json_object(file: Path) -> dict[str, Any]:
    """A JSON object. Raises Unusable for anything else."""
    text = beginning(file, JSON_LIMIT + 1)
    if len(text) > JSON_LIMIT:
        raise Unusable(f"{file.name} is too large to be read")
    try:
        found = json.loads(text.decode())
    except (ValueError, RecursionError) as error:
        raise Unusable(f"{file.name} cannot be read: it is not JSON") from error
    if not isinstance(found, dict):
        raise Unusable(f"{file.name} cannot be read: it is not a JSON object")
    return found
