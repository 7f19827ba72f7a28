"""Pages of single calls: there may be millions, and nobody waits for them to be counted."""

from typing import Any

from django.db.models import QuerySet
from rest_framework.request import Request
from rest_framework.response import Response

from sardeenz.rest.base import Pagination

COUNTED = 10_000
"""So many behind the page are counted."""


class CallsPagination(Pagination):
    """`?limit=&offset=`; `count` is that of all, or one that the next pages exceed."""

    request: Request
    limit: int
    count: int

    @property
    def _furthest(self) -> int:
        return self.get_offset(self.request) + self.limit + COUNTED

    def get_count(self, queryset: QuerySet[Any]) -> int:  # type: ignore[override]
        """The number of calls, or one more than are counted."""
        return queryset.order_by()[: self._furthest + 1].count()

    def get_paginated_response(self, data: Any) -> Response:
        """The page, and whether there are more than were counted."""
        answer = super().get_paginated_response(data)
        more = self.count > self._furthest
        answer.data |= {"count": self.count - more, "more": more}
        return answer

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """With `more`."""
        told = super().get_paginated_response_schema(schema)
        told["properties"]["more"] = {"type": "boolean", "description": "whether there are more than `count`"}
        told["required"] = [*told.get("required", ()), "more"]
        return told
