"""Where a model's weights may come from: a folder inside the models directory, or a hub id."""

import re
from pathlib import Path
from typing import Any

from django.conf import settings

from models_app import estimate
from sardeenz.errors import InvalidSpec

_HUB_ID = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?$")


def local(source: str) -> Path | None:
    """The real path of a local folder, None for a hub id. Raises InvalidSpec for anything else.

    A folder must lie inside the models directory after every link is followed. A hub id that is also a folder there
    means the folder.
    """
    root = Path(settings.MODELS_DIR).resolve()
    hub = bool(_HUB_ID.match(source)) and ".." not in source
    if "\0" in source or source.startswith("~"):
        raise InvalidSpec("give a folder inside the models directory, or an id such as org/name", field="source")
    try:
        folder = (root / source).resolve()
    except (OSError, RuntimeError) as error:
        raise InvalidSpec(f"this path cannot be followed: {error}", field="source") from error
    inside = folder != root and folder.is_relative_to(root)
    if hub and not (inside and folder.is_dir()):
        return None
    if not inside:
        raise InvalidSpec(f"the folder must be inside the models directory {root}", field="source")
    if not (folder / "config.json").is_file():
        raise InvalidSpec(f"there is no model in {folder}: config.json is missing", field="source")
    return folder


def facts(source: str) -> dict[str, Any]:
    """What the files of a local folder tell; empty for a hub id. Raises InvalidSpec when they cannot be read."""
    folder = local(source)
    if folder is None:
        return {}
    try:
        return estimate.facts(folder)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidSpec(f"the model's files cannot be read: {error}", field="source") from error


def folders() -> list[str]:
    """Every folder with a config.json in the models directory, at most two levels deep, as it may be named."""
    root = Path(settings.MODELS_DIR).resolve()
    found = (path.parent for pattern in ("*/config.json", "*/*/config.json") for path in root.glob(pattern))
    return sorted(str(folder.relative_to(root)) for folder in found if folder.resolve().is_relative_to(root))
