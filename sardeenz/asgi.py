"""The ASGI application for people and programs that operate. Traffic has another one: `gateway.app`."""

import os

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sardeenz.settings")
django_application = get_asgi_application()  # loads the apps, which the imports below need

from gpus import routing as gpus_routing  # noqa: E402
from models_app import routing as models_routing  # noqa: E402

__all__ = ["application"]

_websockets = URLRouter([*gpus_routing.websocket_urlpatterns, *models_routing.websocket_urlpatterns])
application = ProtocolTypeRouter(
    {
        "http": django_application,
        "websocket": AllowedHostsOriginValidator(AuthMiddlewareStack(_websockets)),
    }
)
