"""The traffic's part of /api. The request path itself is not here: see `gateway.server`."""

from django.urls import URLPattern, URLResolver, path, re_path
from rest_framework.routers import SimpleRouter

from gateway.api.benchmark_views import BenchmarkViewSet
from gateway.api.call_views import CallsView, CancelCallView
from gateway.api.capture_views import CaptureViewSet
from gateway.api.playground_views import PlaygroundView
from gateway.api.refused_views import RefusalsView
from gateway.api.speed_views import FiguresView, SpeedView
from gateway.api.usage_views import UsageHoursViewSet, UsageViewSet
from gateway.api.views import AliasViewSet, KeyViewSet, TeamViewSet
from gateway.api.why_views import WhyView

router = SimpleRouter(trailing_slash=False)
router.register("teams", TeamViewSet)
router.register("keys", KeyViewSet)
router.register("aliases", AliasViewSet)
router.register("benchmarks", BenchmarkViewSet)
router.register("usage", UsageViewSet)
router.register("usage/hours", UsageHoursViewSet)

urlpatterns: list[URLPattern | URLResolver] = [
    path("usage/speed", SpeedView.as_view()),
    path("usage/figures", FiguresView.as_view()),
    path("calls", CallsView.as_view()),
    re_path(r"^calls/(?P<request_id>[A-Za-z0-9._-]{1,128})/cancel\Z", CancelCallView.as_view()),
    *router.urls,
    path("playground", PlaygroundView.as_view()),
    path("refusals", RefusalsView.as_view()),
    path("why", WhyView.as_view()),
    path("captures", CaptureViewSet.as_view({"get": "list", "delete": "clear"})),
    re_path(
        r"^captures/(?P<deployment>\d{1,18})/(?P<capture>[0-9-]{1,37})\Z", CaptureViewSet.as_view({"get": "retrieve"})
    ),
]
