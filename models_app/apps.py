"""This Django app holds the intent: models, runtimes and deployments, and the replicas that serve models."""

from django.apps import AppConfig


class ModelsAppConfig(AppConfig):
    name = "models_app"
    verbose_name = "Models"
