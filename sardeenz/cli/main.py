"""The `sardeenz` command. A verb's module is loaded when the verb is asked for, so that help and verbs come at once."""

import importlib
import os
from difflib import get_close_matches
from typing import NamedTuple

import typer
from typer._click import Command, Context, HelpFormatter
from typer._click.shell_completion import CompletionItem
from typer.core import TyperGroup
from typer.main import get_command_from_info, get_group_from_info
from typer.models import TyperInfo

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sardeenz.settings")


class Verb(NamedTuple):
    """Where a verb is, and what the list of verbs says of it."""

    module: str
    summary: str


SECTIONS: dict[str, dict[str, Verb]] = {
    "Start": {
        "up": Verb("run.up", "Start everything and stay in the foreground; Ctrl-C stops it again."),
        "demo": Verb("cli.demo", "Add the deployments chat, code and summariser, on simulated engines."),
        "password": Verb("run.up", "Give the first admin a new password."),
    },
    "Look": {
        "status": Verb("cli.status", "GPUs, the replicas on them, and what they do now."),
        "gpus": Verb("cli.status", "List the GPUs of every node, with their memory and how busy they are."),
        "profiles": Verb("cli.memory.profiles", "What loads, sleeps and wakes were measured to take, by kind and GPU."),
        "orphans": Verb("cli.memory.orphans", "Engines that no replica owns; adopt one, or end it."),
        "history": Verb("cli.read", "What happened to replicas, when, why and by whom; the newest first."),
        "why": Verb("cli.policy.why", "Why a deployment or replica is where it is, or where a call's time went."),
        "logs": Verb("cli.read", "Print the end of an engine's log; -f follows what the engine writes next."),
    },
    "Act": {
        "deploy": Verb("cli.deploy", "Serve a model: make the deployment, or change the one there is, and place it."),
        "start": Verb("cli.verbs", "Head for ready: place what is missing, start what is stopped, wake what sleeps."),
        "stop": Verb("cli.verbs", "Let requests finish, then end the engines."),
        "sleep": Verb("cli.verbs", "Free GPU memory; level 1 keeps the weights in host RAM."),
        "wake": Verb("cli.verbs", "Wake a replica, or every replica of a deployment, from sleep."),
        "move": Verb("cli.verbs", "Start a copy on another GPU, then let go of this one; no request fails."),
        "gpu": Verb("cli.machine", "Maintenance of a GPU or a node: cordon, drain, uncordon."),
        "restart": Verb("cli.verbs", "Stop, then start with the deployment's present settings."),
        "cancel": Verb("cli.verbs", "Undo what is under way: a load, a sleep, a move."),
        "delete": Verb("cli.verbs", "Stop every replica and forget the deployment."),
        "plans": Verb("cli.policy.plans", "What was asked with --dry-run, and doing it."),
        "models": Verb("cli.models", "Models and the deployments that serve them; remove those that serve none."),
    },
    "Policy": {
        "windows": Verb("cli.policy.windows", "Recurring times in which deployments have other settings."),
        "overrides": Verb("cli.policy.overrides", "What operators said against windows, and until when."),
    },
    "Measure": {
        "bench": Verb("cli.benchmark.verbs", "Benchmarks: how fast, for how many at once, what neighbours feel of it."),
    },
    "Configuration": {
        "export": Verb("cli.configuration.documents", "Print everything that is set as one YAML file."),
        "plan": Verb("cli.configuration.documents", "Show what a file would change, and change nothing."),
        "apply": Verb("cli.configuration.documents", "Change everything as a file says, or nothing."),
        "versions": Verb("cli.configuration.versions", "Versions of the configuration: when, by whom, what changed."),
        "rollback": Verb("cli.configuration.versions", "Bring back the configuration of a version."),
    },
    "Traffic": {
        "chat": Verb("cli.chat", "Stream an answer. A model that sleeps is woken by it."),
        "tail": Verb("cli.tail", "Show captured calls, redacted, and follow as more come."),
        "calls": Verb("cli.calls", "Calls in flight; cancel one that its caller still waits for."),
        "usage": Verb("cli.usage", "Calls, tokens and GPU time, added up by the hour (UTC)."),
        "keys": Verb("cli.access.keys", "API keys."),
        "teams": Verb("cli.access.teams", "Teams: keys that share limits and a place in the queues."),
        "aliases": Verb("cli.access.aliases", "Other names callers may ask for."),
    },
}
VERBS = {name: verb for section in SECTIONS.values() for name, verb in section.items()}


class Verbs(TyperGroup):
    """Every verb by name; only the one that is asked for is loaded."""

    def list_commands(self, ctx: Context) -> list[str]:
        """Their names, as the help shows them."""
        return list(VERBS)

    def get_command(self, ctx: Context, cmd_name: str) -> Command | None:
        """The verb's module is imported here; None means that there is no such verb."""
        if cmd_name not in VERBS:
            return None
        if cmd_name not in self.commands:
            self.commands[cmd_name] = load(cmd_name)
        return self.commands[cmd_name]

    def resolve_command(self, ctx: Context, args: list[str]) -> tuple[str | None, Command | None, list[str]]:
        """A name that is none of them gets the nearest that is."""
        if args[0] not in VERBS and not args[0].startswith("-") and not ctx.resilient_parsing:
            near = get_close_matches(args[0], VERBS, n=1)
            ctx.fail(f"There is no verb {args[0]!r}" + (f"; did you mean {near[0]!r}?" if near else "."))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:
        """The help lists the verbs under the titles of SECTIONS."""
        for title, verbs in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, verb.summary) for name, verb in verbs.items()])

    def shell_complete(self, ctx: Context, incomplete: str) -> list[CompletionItem]:
        """Names from the list above; options of this command from typer."""
        found = [CompletionItem(name, help=verb.summary) for name, verb in VERBS.items() if name.startswith(incomplete)]
        return found + (super().shell_complete(ctx, incomplete) if incomplete.startswith("-") else [])


def load(name: str) -> Command:
    """The verb, or the group of verbs, as its module declares it."""
    app: typer.Typer = importlib.import_module(f"sardeenz.{VERBS[name].module}").app
    for info in app.registered_commands:
        if info.name == name or (info.name is None and info.callback and info.callback.__name__ == name):
            return get_command_from_info(info, pretty_exceptions_short=True, rich_markup_mode=None)
    return get_group_from_info(
        TyperInfo(app, name=name), pretty_exceptions_short=True, rich_markup_mode=None, suggest_commands=True
    )


app = typer.Typer(
    name="sardeenz", cls=Verbs, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False,
    epilog="Each verb has a --help with examples. --install-completion teaches the shell names and options.",
)  # fmt: skip


@app.callback()
def sardeenz() -> None:
    """Many models on few GPUs, behind one endpoint."""


def main() -> None:
    """The installed script `sardeenz` calls this function."""
    app()


if __name__ == "__main__":
    main()
