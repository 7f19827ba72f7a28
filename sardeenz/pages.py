"""The two pages the web process itself answers: the dashboard's frame, and whether it is up."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_safe

ADDRESSES = ("", "access", "access/keys", "access/teams", "access/aliases", "usage", "requests")
"""Where the dashboard's pages are; `frontend/src/lib/pages.ts` has the same."""

NOT_BUILT = "The dashboard is not built. Run `make frontend`, or use the API at /api and the admin at /admin/.\n"


@require_safe
@never_cache
@ensure_csrf_cookie
def dashboard(request: HttpRequest) -> HttpResponse:
    """The built page, the same at each of `ADDRESSES`; it holds nothing secret and signs people in itself."""
    index = settings.FRONTEND_DIST / "index.html"
    if not index.is_file():
        return HttpResponse(NOT_BUILT, status=503, content_type="text/plain; charset=utf-8")
    return HttpResponse(index.read_bytes(), content_type="text/html; charset=utf-8")


@require_safe
@never_cache
def health(request: HttpRequest) -> HttpResponse:
    """The process answers. It says nothing about servers and engines behind it."""
    return JsonResponse({"status": "ok", "version": settings.VERSION})
