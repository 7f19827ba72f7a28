"""The websockets of the intent."""

from django.urls import URLPattern, path

from models_app.api.consumers import LifecycleConsumer, LogConsumer

websocket_urlpatterns: list[URLPattern] = [
    path("ws/lifecycle", LifecycleConsumer.as_asgi()),
    path("ws/logs/<int:replica_id>", LogConsumer.as_asgi()),
]
