"""The intent's part of /api."""

from django.urls import URLPattern, URLResolver, path
from rest_framework.routers import SimpleRouter

from models_app.api.deployment_views import DeploymentViewSet
from models_app.api.fit_views import DeploymentFitView, MoveFitView
from models_app.api.history import HistoryView
from models_app.api.machine.cordon_views import CordonView, DrainView, UncordonView
from models_app.api.machine.orphan_views import OrphanViewSet
from models_app.api.past_views import DecisionsView, TimelineView
from models_app.api.plan_views import PlanViewSet
from models_app.api.presence_views import ServicesView
from models_app.api.profile_views import ProfilesView
from models_app.api.telemetry import TelemetryView
from models_app.api.views import ModelViewSet, ReplicaViewSet, RuntimeViewSet, SnapshotView, TransitionViewSet
from models_app.api.window_views import InForceView, OverrideViewSet, WeekView, WhatIfView, WindowViewSet

router = SimpleRouter(trailing_slash=False)
router.register("models", ModelViewSet)
router.register("runtimes", RuntimeViewSet)
router.register("deployments", DeploymentViewSet)
router.register("replicas", ReplicaViewSet)
router.register("windows", WindowViewSet)
router.register("overrides", OverrideViewSet)
router.register("transitions", TransitionViewSet)
router.register("plans", PlanViewSet)
router.register("orphans", OrphanViewSet, basename="orphan")

urlpatterns: list[URLPattern | URLResolver] = [
    path("deployments/fit", DeploymentFitView.as_view()),
    path("replicas/<int:pk>/fit", MoveFitView.as_view()),
    path("policies/in-force", InForceView.as_view()),
    path("policies/week", WeekView.as_view()),
    path("policies/what-if", WhatIfView.as_view()),
    *router.urls,
    *(
        path(f"{kind}/<str:{kind[:-1]}>/{verb}", view.as_view())
        for kind in ("gpus", "nodes")
        for verb, view in (("cordon", CordonView), ("uncordon", UncordonView), ("drain", DrainView))
    ),
    path("snapshot", SnapshotView.as_view()),
    path("telemetry", TelemetryView.as_view()),
    path("history", HistoryView.as_view()),
    path("profiles", ProfilesView.as_view()),
    path("decisions", DecisionsView.as_view()),
    path("timeline", TimelineView.as_view()),
    path("services", ServicesView.as_view()),
]
