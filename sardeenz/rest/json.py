"""JSON as the API takes it: what no field and no database can hold is refused here, for all of them."""

from collections.abc import Mapping
from typing import IO, Any

from rest_framework.exceptions import ParseError, ValidationError
from rest_framework.parsers import JSONParser

UNTAKEN = "text may not hold the character NUL or half of a character"


class StrictJSONParser(JSONParser):
    """Refuses nesting without end, and text that PostgreSQL cannot store."""

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """The document; a refusal names the field that holds such text."""
        try:
            found: dict[str, Any] = super().parse(stream, media_type, parser_context)
            bad = [name for name, value in _members(found) if not (_storable(name) and _storable(value))]
        except RecursionError as error:
            raise ParseError("JSON parse error - it is nested too deeply") from error
        except LookupError as error:
            raise ParseError("JSON parse error - its character set is unknown") from error
        if bad:
            raise ValidationError({name if _storable(name) else "non_field_errors": [UNTAKEN] for name in bad})
        return found


def _members(found: Any) -> list[tuple[str, Any]]:
    return list(found.items()) if isinstance(found, dict) else [("non_field_errors", found)]


def _storable(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" not in value and not any("\ud800" <= letter <= "\udfff" for letter in value)
    if isinstance(value, dict):
        return all(_storable(name) and _storable(each) for name, each in value.items())
    return all(map(_storable, value)) if isinstance(value, list) else True
