"""Signing in and out, in /api."""

from django.urls import URLPattern, path

from sardeenz.access.session import LoginView, LogoutView, MeView

urlpatterns: list[URLPattern] = [
    path("me", MeView.as_view()),
    path("login", LoginView.as_view()),
    path("logout", LogoutView.as_view()),
]
