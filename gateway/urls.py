"""The traffic's part of /api. The request path itself is not here: see `gateway.server`."""

from django.urls import URLPattern, URLResolver
from rest_framework.routers import SimpleRouter

from gateway.usage_views import UsageHoursViewSet, UsageViewSet
from gateway.views import AliasViewSet, KeyViewSet, TeamViewSet

router = SimpleRouter(trailing_slash=False)
router.register("teams", TeamViewSet)
router.register("keys", KeyViewSet)
router.register("aliases", AliasViewSet)
router.register("usage", UsageViewSet)
router.register("usage/hours", UsageHoursViewSet)

urlpatterns: list[URLPattern | URLResolver] = [*router.urls]
