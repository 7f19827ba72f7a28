"""The machine's part of /api."""

from django.urls import URLPattern, URLResolver
from rest_framework.routers import SimpleRouter

from gpus.api.views import GPUViewSet, NodeViewSet

router = SimpleRouter(trailing_slash=False)
router.register("nodes", NodeViewSet)
router.register("gpus", GPUViewSet)

urlpatterns: list[URLPattern | URLResolver] = list(router.urls)
