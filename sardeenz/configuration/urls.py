"""The configuration's part of /api."""

from django.urls import URLPattern, URLResolver, path
from rest_framework.routers import SimpleRouter

from sardeenz.configuration.views import ApplyView, ConfigurationView, PlanView, VersionViewSet

router = SimpleRouter(trailing_slash=False)
router.register("configuration/versions", VersionViewSet)

urlpatterns: list[URLPattern | URLResolver] = [
    path("configuration", ConfigurationView.as_view()),
    path("configuration/plan", PlanView.as_view()),
    path("configuration/apply", ApplyView.as_view()),
    *router.urls,
]
