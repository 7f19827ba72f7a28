"""What OPTIONS answers: which methods there are and what they are for. The fields of each stand in /api/schema."""

from typing import TYPE_CHECKING, Any

from rest_framework.metadata import BaseMetadata
from rest_framework.request import Request

if TYPE_CHECKING:  # DRF's views read the settings, and so import us, before they exist
    from rest_framework.views import APIView


class Metadata(BaseMetadata):
    """The same for every view, also for those whose answers are rows and no form."""

    def determine_metadata(self, request: Request, view: "APIView") -> dict[str, Any]:
        """Allowed methods are in the header `Allow`."""
        return {
            "name": view.get_view_name(),
            "description": view.get_view_description(),
            "methods": view.allowed_methods,
            "parses": [parser.media_type for parser in view.parser_classes],
            "schema": "/api/schema",
        }
