"""This Django app holds the intent: models, runtimes and deployments, and the replicas that serve models."""

from typing import Any

from django.apps import AppConfig
from django.utils.module_loading import import_string


class ModelsAppConfig(AppConfig):
    name = "models_app"
    verbose_name = "Models"

    def ready(self) -> None:
        """Who cordons a GPU, here, in the admin or by PATCH, stands in the history."""
        import_string("gpus.cordon.changed").connect(_tell)


def _tell(**given: Any) -> None:
    import_string("models_app.policy.cordon.tell")(**given)
