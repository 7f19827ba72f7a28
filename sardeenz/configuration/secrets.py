"""Values that a document names and never holds: one file per secret, in a folder of the server.

Only that folder can be read by naming a secret: neither the server's own environment nor any other file.
"""

import re
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils.crypto import constant_time_compare, salted_hmac

from models_app.rows import HIDDEN, looks_secret
from sardeenz.configuration.models import SecretReference
from sardeenz.configuration.shapes import SECRET

SEAL = "seal"
LONGEST_VALUE = 4096
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_SALT = "sardeenz.configuration.secret"

References = dict[tuple[str, str, str], str]
"""Section, owner and variable: the name of the secret."""


class SecretMissing(Exception):
    """Neither a file nor the row has it; the text says where it is looked for."""


def references() -> References:
    """The names that documents gave so far."""
    return {(each.section, each.owner, each.variable): each.name for each in SecretReference.objects.all()}


def sealed(environment: dict[str, str], section: str, owner: str, known: References) -> dict[str, Any]:
    """The variables with every secret as a reference, and a seal that tells two values apart without showing either."""
    return {
        variable: {SECRET: known.get((section, owner, variable), f"{owner}.{variable}"), SEAL: _seal(value)}
        if looks_secret(variable)
        else value
        for variable, value in environment.items()
    }


def _seal(value: str) -> str:
    return salted_hmac(_SALT, value).hexdigest()[:32]


def resealed(environment: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """A document's references with the seals of the values they stand for: the file's, else the one that there is now.

    Raises SecretMissing.
    """
    return {variable: _resealed(variable, entry, now.get(variable)) for variable, entry in environment.items()}


def _resealed(variable: str, entry: Any, before: Any) -> Any:
    if not isinstance(entry, dict):
        return entry
    stored = _stored(entry[SECRET])
    if stored is not None:
        return {SECRET: entry[SECRET], SEAL: _seal(stored)}
    if isinstance(before, dict):
        return {SECRET: entry[SECRET], SEAL: before[SEAL]}
    raise SecretMissing(
        f"the server has no secret {entry[SECRET]!r} for {variable}: "
        f"write its value to the file {Path(settings.SECRETS_DIR) / entry[SECRET]}"
    )


def _stored(name: str) -> str | None:
    """The file's text without the end of its last line. None where there is no such file."""
    if not _NAME.fullmatch(name):
        raise SecretMissing(f"{name!r} cannot be the name of a secret: use letters, digits, '.', '_' and '-'")
    try:
        with open(Path(settings.SECRETS_DIR) / name, encoding="utf-8") as file:
            text = file.read(LONGEST_VALUE + 2).removesuffix("\n")
    except (OSError, UnicodeDecodeError):
        return None
    return text if len(text) <= LONGEST_VALUE else None


def revealed(environment: dict[str, Any]) -> dict[str, str]:
    """The variables as the API takes them: what is to stay as it is goes by the word that hides it."""
    return {variable: _revealed(entry) for variable, entry in environment.items()}


def _revealed(entry: Any) -> str:
    if not isinstance(entry, dict):
        return str(entry)
    stored = _stored(entry[SECRET])
    if stored is not None and constant_time_compare(_seal(stored), entry[SEAL]):
        return stored
    return HIDDEN


def remember(section: str, owner: str, environment: dict[str, Any]) -> None:
    """Keep the names of an owner's secrets, so that an export names them as the document did."""
    named = {variable: entry[SECRET] for variable, entry in environment.items() if isinstance(entry, dict)}
    SecretReference.objects.filter(section=section, owner=owner).exclude(variable__in=named).delete()
    for variable, name in named.items():
        SecretReference.objects.update_or_create(
            section=section, owner=owner, variable=variable, defaults={"name": name}
        )
