"""The pages the web process itself answers: the dashboard's frame, whether it is up, and what is at no address."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponsePermanentRedirect, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_safe

ADDRESSES = ("", "models", "access", "access/keys", "access/teams", "access/aliases", "usage", "requests")
"""Where the dashboard's pages are; `frontend/src/lib/pages.ts` has the same."""

NOT_BUILT = "The dashboard is not built. Run `make frontend`, or use the API at /api and the admin at /admin/.\n"


@require_safe
@never_cache
@ensure_csrf_cookie
def dashboard(request: HttpRequest) -> HttpResponse:
    """The built page, the same at each of `ADDRESSES`; it holds nothing secret and signs people in itself."""
    return _frame(200)


def _frame(status: int) -> HttpResponse:
    index = settings.FRONTEND_DIST / "index.html"
    if not index.is_file():
        return HttpResponse(NOT_BUILT, status=503, content_type="text/plain; charset=utf-8")
    return HttpResponse(index.read_bytes(), status=status, content_type="text/html; charset=utf-8")


@never_cache
def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """An address of nothing: a browser gets the dashboard, which leads back; programs get the API's error body."""
    if request.method == "GET" and "text/html" in request.headers.get("Accept", ""):
        page = request.path.strip("/")
        known = page in ADDRESSES and request.path != f"/{page}"
        return HttpResponsePermanentRedirect(f"/{page}") if known else _frame(404)
    message = f"there is nothing at {request.path}; {_hint(request.path)}"
    request_id = getattr(request, "request_id", None)
    body: dict[str, object] = {"code": "not_found", "message": message, "fields": {}, "request_id": request_id}
    return JsonResponse(body, status=404)


def _hint(path: str) -> str:
    if path.startswith("/v1"):
        return f"models are called at the gateway, which listens on port {settings.GATEWAY_PORT}"
    return "the API's addresses are listed at /api/schema"


@require_safe
@never_cache
def health(request: HttpRequest) -> HttpResponse:
    """The process answers. It says nothing about servers and engines behind it."""
    return JsonResponse({"status": "ok", "version": settings.VERSION})
