"""Which consumer serves which websocket."""

from django.urls import URLPattern, path

from models_app.api.consumers import LifecycleConsumer, LogConsumer
from models_app.api.telemetry import TelemetryConsumer

websocket_urlpatterns: list[URLPattern] = [
    path("ws/telemetry", TelemetryConsumer.as_asgi()),
    path("ws/lifecycle", LifecycleConsumer.as_asgi()),
    path("ws/logs/<int:replica_id>", LogConsumer.as_asgi()),
]
