"""This Django app holds the machine: nodes, GPUs, processes on GPUs, and their telemetry."""

from django.apps import AppConfig

from sardeenz import checks


class GpusConfig(AppConfig):
    name = "gpus"
    verbose_name = "GPUs"

    def ready(self) -> None:
        """Whoever uses the machine wants its settings checked."""
        checks.register_all()
