"""Every URL of the web process."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path
from drf_spectacular.views import SpectacularAPIView

from sardeenz import pages

admin.site.site_header = admin.site.site_title = "Sardeenz"
admin.site.index_title = "Every row, and the verbs over them"
admin.site.enable_nav_sidebar = False  # its width is the tables'

handler404 = "sardeenz.pages.not_found"
handler400 = "sardeenz.pages.bad_request"
handler500 = "sardeenz.pages.failed"

urlpatterns: list[URLPattern | URLResolver] = [
    path("admin/", admin.site.urls),
    path("api/schema", SpectacularAPIView.as_view(), name="schema"),
    path("api/", include("sardeenz.access.urls")),
    path("api/", include("sardeenz.options.urls")),
    path("api/", include("gpus.urls")),
    path("api/", include("models_app.urls")),
    path("api/", include("gateway.urls")),
    path("api/", include("sardeenz.configuration.urls")),
    path("health", pages.health),
    *(path(address, pages.dashboard) for address in pages.ADDRESSES),
    *(path(f"{address}/<str:thing>", pages.dashboard) for address in pages.THINGS),
]
