"""Rows in the admin as people read and write them: sizes in GiB, fields by their names on the page's forms."""

from collections.abc import Callable
from functools import cache
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db import models
from django.http import HttpRequest

from sardeenz import sizes
from sardeenz.labels import label

_SIZE = "_bytes"


class SizeField(forms.CharField):
    """Bytes, shown and typed as 16 GiB. A size that was not touched stays exact, however it was rounded to be shown."""

    def prepare_value(self, value: Any) -> Any:
        """A number of bytes becomes text such as 16 GiB; what a person typed is shown again as typed."""
        return sizes.shown(value) if isinstance(value, int) else value

    def clean(self, value: Any) -> int | None:
        """As bytes; nothing where nothing was typed."""
        text = super().clean(value)
        try:
            return sizes.parse(text) if text else None
        except ValueError as error:
            raise ValidationError(str(error)) from error

    def has_changed(self, initial: Any, data: Any) -> bool:
        """What reads as before is as before."""
        return super().has_changed(self.prepare_value(initial), data)


@cache
def size_column(field: str) -> Callable[[Any], str]:
    """A column that shows a field of bytes."""

    @admin.display(description=label(field), ordering=field)
    def column(row: Any) -> str:
        return sizes.shown(getattr(row, field))

    column.__name__ = field.removesuffix(_SIZE)
    return column


class Readable:
    """For a ModelAdmin: every size in GiB and every field by its label, in lists, in forms and read-only fields."""

    def get_list_display(self, request: HttpRequest) -> Any:
        """With sizes as people read them."""
        return [_shown(name) for name in super().get_list_display(request)]  # type: ignore[misc]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Likewise; the names stay beside the columns, for they tell which fields a form leaves out."""
        names = list(super().get_readonly_fields(request, obj))  # type: ignore[misc]
        return names + [size_column(name) for name in names if name.endswith(_SIZE)]

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Likewise: a size that is only read stands here as its column, once."""
        columns = {f"{name.__name__}{_SIZE}" for name in self.get_readonly_fields(request, obj) if callable(name)}
        return [name for name in super().get_fields(request, obj) if name not in columns]  # type: ignore[misc]

    def formfield_for_dbfield(self, db_field: "models.Field[Any, Any]", request: HttpRequest, **how: Any) -> Any:
        """A size is typed as one; everything has its label."""
        if db_field.name.endswith(_SIZE):
            return SizeField(label=_titled(db_field), required=not db_field.blank, help_text=db_field.help_text)
        found = super().formfield_for_dbfield(db_field, request, **how)  # type: ignore[misc]
        if found is not None:
            found.label = _titled(db_field)
        return found


def _titled(field: "models.Field[Any, Any]") -> str:
    text = label(field.name)
    return text[:1].upper() + text[1:]


def _shown(name: Any) -> Any:
    return size_column(name) if isinstance(name, str) and name.endswith(_SIZE) else name
