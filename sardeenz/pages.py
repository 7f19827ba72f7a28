"""The pages the web process itself answers: the dashboard's frame, whether it is up, and what is at no address."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponsePermanentRedirect, JsonResponse
from django.views import defaults
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_safe

ADDRESSES = (
    "",
    "deployments",
    "models",
    "playground",
    "nodes",
    "evictions",
    "decisions",
    "policies",
    "access",
    "access/keys",
    "access/teams",
    "access/aliases",
    "traffic",
    "usage",
    "requests",
    "benchmarks",
    "settings",
)
"""Where the dashboard's pages are; `frontend/src/lib/pages.ts` has the same."""
THINGS = ("deployments", "benchmarks")
"""Those below which single things have addresses: `things` there."""

NOT_BUILT = "The dashboard is not built. Run `make frontend`, or use the API at /api and the admin at /admin/.\n"


@require_safe
@never_cache
@ensure_csrf_cookie
def dashboard(request: HttpRequest, thing: str = "") -> HttpResponse:
    """The built page, the same at each of `ADDRESSES` and below; it holds nothing secret and signs people in itself."""
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
    return _error(request, 404, "not_found", f"there is nothing at {request.path}; {_hint(request.path)}")


@never_cache
def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """A request that Django itself refuses: a host name that is not ours, a body without end."""
    if _browses(request):
        return defaults.bad_request(request, exception)
    return _error(request, 400, "bad_request", "the request was refused; see SARDEENZ_ALLOWED_HOSTS for host names")


@never_cache
def failed(request: HttpRequest) -> HttpResponse:
    """A bug. Programs get the API's error body, people who look at the admin a page."""
    if _browses(request):
        return defaults.server_error(request)
    return _error(request, 500, "internal_error", "this is a fault of Sardeenz; its log has the details")


def _browses(request: HttpRequest) -> bool:
    return not request.path.startswith("/api/") and "text/html" in request.headers.get("Accept", "")


def _error(request: HttpRequest, status: int, code: str, message: str) -> JsonResponse:
    request_id = getattr(request, "request_id", None)
    body: dict[str, object] = {"code": code, "message": message, "fields": {}, "request_id": request_id}
    return JsonResponse(body, status=status)


def _hint(path: str) -> str:
    if path.startswith("/v1"):
        return f"models are called at the gateway, which listens on port {settings.GATEWAY_PORT}"
    return "the API's addresses are listed at /api/schema"


@require_safe
@never_cache
def health(request: HttpRequest) -> HttpResponse:
    """The process answers. It says nothing about servers and engines behind it."""
    return JsonResponse({"status": "ok", "version": settings.VERSION})
