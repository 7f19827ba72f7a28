"""Every URL of the web process."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path, re_path
from drf_spectacular.views import SpectacularAPIView

from sardeenz import pages

urlpatterns: list[URLPattern | URLResolver] = [
    path("admin/", admin.site.urls),
    path("api/schema", SpectacularAPIView.as_view(), name="schema"),
    path("api/", include("gpus.urls")),
    path("api/", include("models_app.urls")),
    path("api/", include("gateway.urls")),
    path("health", pages.health),
    # Addresses inside the dashboard: neither an API path nor a file.
    re_path(r"^(?!(?:api|admin|static|ws|v1)/)(?P<path>[^.]*)$", pages.dashboard, name="dashboard"),
]
