"""The traffic's part of /api. The request path itself is not here: see `gateway.server`."""

from django.urls import URLPattern, URLResolver
from rest_framework.routers import SimpleRouter

from gateway.views import KeyViewSet, UsageViewSet

router = SimpleRouter(trailing_slash=False)
router.register("keys", KeyViewSet)
router.register("usage", UsageViewSet)

urlpatterns: list[URLPattern | URLResolver] = [*router.urls]
