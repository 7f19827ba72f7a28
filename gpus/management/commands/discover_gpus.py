"""`manage.py discover_gpus` writes the rows of this node and of its GPUs."""

from django.core.management.base import BaseCommand

from gpus import discovery


class Command(BaseCommand):
    help = "Insert or update the rows of this node and its GPUs."

    def handle(self, *args: object, **options: object) -> None:
        node = discovery.discover()
        for gpu in node.gpus.filter(present=True):
            self.stdout.write(f"{node.name} {gpu.index} {gpu.uuid} {gpu.name} {gpu.memory_bytes}")
