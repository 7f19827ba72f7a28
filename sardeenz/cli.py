"""The `sardeenz` command."""

import os

import typer

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sardeenz.settings")

from sardeenz import (
    cli_aliases,
    cli_chat,
    cli_demo,
    cli_keys,
    cli_read,
    cli_tail,
    cli_teams,
    cli_up,
    cli_usage,
    cli_verbs,
)

app = typer.Typer(
    name="sardeenz", help="Many models on few GPUs, behind one endpoint.", no_args_is_help=True, add_completion=False
)
for command in (cli_up.up, cli_up.password, *cli_read.COMMANDS, *cli_verbs.COMMANDS, cli_chat.chat, cli_demo.demo):
    app.command()(command)
app.command()(cli_usage.usage)
app.command()(cli_tail.tail)
app.add_typer(cli_keys.app, name="keys")
app.add_typer(cli_teams.app, name="teams")
app.add_typer(cli_aliases.app, name="aliases")


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
