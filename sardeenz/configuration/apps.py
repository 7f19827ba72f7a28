"""This Django app holds the configuration as code: documents, versions, and how they become rows."""

from django.apps import AppConfig


class ConfigurationConfig(AppConfig):
    name = "sardeenz.configuration"
    label = "configuration"
    verbose_name = "Configuration"
