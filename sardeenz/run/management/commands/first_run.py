"""`manage.py first_run` prepares an installation and prints as JSON what `sardeenz up` tells people."""

import json

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser

from sardeenz.run import first_run


class Command(BaseCommand):
    help = "Migrate, and make what an installation needs: an admin, keys, runtimes, GPUs. Harmless when repeated."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--new-password", action="store_true", help="give the first admin another password")
        parser.add_argument("--token", default="", help="the manage key the command line holds")
        parser.add_argument("--api-key", default="", help="the inference key the command line holds")
        parser.add_argument("--no-node", action="store_true", help="this machine is no node: leave its GPUs out")

    def handle(self, *args: object, **options: object) -> None:
        call_command("migrate", verbosity=0)
        made = first_run.prepare(
            token=str(options["token"]),
            api_key=str(options["api_key"]),
            new_password=bool(options["new_password"]),
            node=not options["no_node"],
        )
        self.stdout.write(json.dumps(made))
