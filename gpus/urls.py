"""The machine's part of /api."""

from django.urls import URLPattern, URLResolver, path
from rest_framework.routers import SimpleRouter

from gpus.api.views import GPUViewSet, NodeViewSet, TelemetryView

router = SimpleRouter(trailing_slash=False)
router.register("nodes", NodeViewSet)
router.register("gpus", GPUViewSet)

urlpatterns: list[URLPattern | URLResolver] = [*router.urls, path("telemetry", TelemetryView.as_view())]
