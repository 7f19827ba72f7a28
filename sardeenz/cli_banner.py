"""What people read when everything is up."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from sardeenz import cli_config

_SHOWN_ONCE = "as printed at the first start"


def show(console: Console, made: dict[str, Any], *, log_dir: Path) -> None:
    """Addresses, credentials where they are new, and a line to try."""
    config = cli_config.current()
    table = Table.grid(padding=(0, 2))
    table.add_row("Dashboard", config.url)
    table.add_row("Endpoint", f"{config.gateway_url}/v1")
    table.add_row("User", made["username"])
    table.add_row("Password", made["password"] or f"{_SHOWN_ONCE}; a new one: sardeenz password")
    table.add_row(
        "API key", made["api_key"] if made["new_api_key"] else f"{_SHOWN_ONCE}; another: sardeenz keys create"
    )
    table.add_row("Runtimes", ", ".join(made["runtimes"]))
    table.add_row("Logs", str(log_dir))
    if made["simulated"]:
        table.add_row("GPUs", "[yellow]simulated[/]: no NVIDIA driver answers, or SARDEENZ_GPUS asks for it")
    console.print(Panel(table, title="Sardeenz is up", title_align="left", expand=False))
    key = made["api_key"] if made["new_api_key"] else "$KEY"
    console.print("Try (make demo adds a model called chat):", style="dim")
    body = '{"model": "chat", "messages": [{"role": "user", "content": "Hello"}], "stream": true}'
    console.print(
        f"curl -N {config.gateway_url}/v1/chat/completions -H 'Authorization: Bearer {key}' "
        f"-H 'Content-Type: application/json' -d '{body}'",
        soft_wrap=True,
        markup=False,
    )
