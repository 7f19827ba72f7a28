"""Signing in with a session: /api/me, /api/login, /api/logout."""

from typing import Any

from django.conf import settings
from django.contrib.auth import authenticate, login, logout
from django.middleware.csrf import get_token
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.authentication import SessionAuthentication
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import SimpleRateThrottle
from rest_framework.views import APIView

from gpus.models import Node
from sardeenz.errors import Unauthorized


class MeSerializer(serializers.Serializer[Any]):
    """Who acts, and what a page needs to know about this installation."""

    username = serializers.CharField()
    operator = serializers.BooleanField(help_text="may act, not only look")
    version = serializers.CharField()
    simulated = serializers.BooleanField(help_text="some GPUs of this installation are simulated")
    gateway_port = serializers.IntegerField()


class CredentialsSerializer(serializers.Serializer[Any]):
    """A name and a password."""

    username = serializers.CharField(max_length=150)
    password = serializers.CharField(max_length=1000, trim_whitespace=False, write_only=True)


class LoginThrottle(SimpleRateThrottle):
    """Ten attempts a minute from one address."""

    scope = "login"
    rate = "10/min"

    def get_cache_key(self, request: Request, view: APIView) -> str:
        """Count per address of the caller."""
        return f"sardeenz:login:{self.get_ident(request)}"


def _me(request: Request) -> dict[str, Any]:
    return {
        "username": request.user.get_username(),
        "operator": bool(getattr(request.user, "is_staff", False)),
        "version": settings.VERSION,
        "simulated": Node.objects.filter(simulated=True).exists(),
        "gateway_port": settings.GATEWAY_PORT,
    }


class MeView(APIView):
    """The view tells who acts, and what a page needs to know about this installation."""

    @extend_schema(responses=MeSerializer)
    def get(self, request: Request) -> Response:
        """The caller, and the CSRF cookie a page needs to act."""
        get_token(request._request)
        return Response(_me(request))


class LoginView(APIView):
    """Begin a session. GET sets the CSRF cookie that POST wants back in `X-CSRFToken`."""

    permission_classes = (AllowAny,)
    authentication_classes = ()

    def get_throttles(self) -> list[Any]:
        """Only POST counts as an attempt; a page may GET the cookie as often as needed."""
        return [LoginThrottle()] if self.request.method == "POST" else []

    @extend_schema(responses={204: None})
    def get(self, request: Request) -> Response:
        """The answer is empty and sets the CSRF cookie that POST needs."""
        get_token(request._request)
        return Response(status=204)

    @extend_schema(request=CredentialsSerializer, responses=MeSerializer)
    def post(self, request: Request) -> Response:
        """Check the password and begin a session; the answer does not tell whether the name or the password failed."""
        SessionAuthentication().enforce_csrf(request)
        given = CredentialsSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        user = authenticate(request._request, **given.validated_data)
        if user is None:
            raise Unauthorized("wrong user name or password")
        login(request._request, user)
        request.user = user
        return Response(_me(request))


class LogoutView(APIView):
    """POST ends the caller's session; other sessions of the same user stay."""

    @extend_schema(request=None, responses={204: None})
    def post(self, request: Request) -> Response:
        """Forget the session on the server."""
        logout(request._request)
        return Response(status=204)

    def get_permissions(self) -> list[Any]:
        """Whoever has a session may end it, also one who may only look."""
        return [AllowAny()]
