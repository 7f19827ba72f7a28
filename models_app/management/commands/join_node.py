"""`manage.py join_node` takes this node's GPUs into an installation."""

from django.core.management.base import BaseCommand

from gpus import discovery
from models_app.lifecycle import resume


class Command(BaseCommand):
    help = "Take this node's GPUs into an installation, and up again what ended with the node. Its workers are down."

    def handle(self, *args: object, **options: object) -> None:
        resume.resume()
        discovery.discover()
