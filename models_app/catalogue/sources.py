"""Where a model's weights may come from: a folder inside the models directory, or a hub id."""

import re
from pathlib import Path
from typing import Any

from django.conf import settings

from models_app.catalogue import folder as models
from models_app.catalogue import hub
from models_app.catalogue.reading import Unusable
from models_app.models import Model
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
    try:
        models.check(folder)
    except (Unusable, OSError) as error:
        raise InvalidSpec(f"{folder.name}: {error}", field="source") from error
    return folder


def facts(source: str, revision: str = "") -> dict[str, Any]:
    """What the files of a local folder tell, or the Hub of a model's files; empty where it cannot be asked.

    Raises InvalidSpec when the files of a folder cannot be read.
    """
    folder = local(source)
    if folder is None:
        return hub.ask(source, revision).facts
    try:
        return models.facts(folder)
    except (Unusable, OSError) as error:
        raise InvalidSpec(f"{folder.name}: {error}", field="source") from error


def why_unread(source: str, revision: str = "") -> str:
    """Why nothing is known of a model that is not in a folder; empty where something is."""
    return "" if Path(source).is_absolute() else hub.ask(source, revision).why


def read_again(model: Model) -> None:
    """Look at a local model's files as they are now. Raises InvalidSpec where no engine could load them any more."""
    if not Path(model.source).is_absolute():
        return
    found = facts(model.source)
    if found != model.facts:
        model.facts = found
        model.save(update_fields=["facts"])


def folders() -> list[str]:
    """Every folder with a model's config in the models directory, at most two levels deep, as it may be named."""
    root = Path(settings.MODELS_DIR).resolve()
    found = {path for pattern in ("*", "*/*") for path in root.glob(pattern) if models.is_model(path)}
    return sorted(str(folder.relative_to(root)) for folder in found if folder.resolve().is_relative_to(root))
