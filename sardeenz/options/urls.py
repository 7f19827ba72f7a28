"""How the installation is set up, in /api."""

from django.urls import URLPattern, path

from sardeenz.options.views import SettingsView

urlpatterns: list[URLPattern] = [path("settings", SettingsView.as_view())]
