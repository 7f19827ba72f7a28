"""What people read when everything is up."""

import shlex
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from sardeenz.cli.config import current, header_path
from sardeenz.cli.output import typed

_SHOWN_ONCE = "as printed at the first start"


def show(console: Console, made: dict[str, Any], *, log_dir: Path, data_dir: Path) -> None:
    """Addresses, credentials where they are new, and a line to try."""
    config = current()
    table = Table.grid(padding=(0, 2))
    table.add_row("Dashboard", config.url)
    table.add_row("Endpoint", f"{config.gateway_url}/v1")
    table.add_row("User", made["username"])
    table.add_row("Password", made["password"] or f"{_SHOWN_ONCE}; a new one: {typed()} password")
    table.add_row(
        "API key", made["api_key"] if made["new_api_key"] else f"{_SHOWN_ONCE}; another: {typed()} keys create NAME"
    )
    table.add_row("Runtimes", ", ".join(made["runtimes"]))
    table.add_row("Logs", str(log_dir))
    if made["simulated"]:
        table.add_row("GPUs", "[yellow]simulated[/]: no NVIDIA driver answers, or SARDEENZ_GPUS asks for it")
    console.print(Panel(table, title="Sardeenz is up", title_align="left", expand=False))
    console.print("Ctrl-C stops everything; the next start brings back what served.", style="dim")
    console.print("Try (make demo adds a model called chat):", style="dim")
    header = f"Authorization: Bearer {made['api_key']}" if made["new_api_key"] else f"@{header_path(data_dir)}"
    console.print(curl_line(config.gateway_url, header), soft_wrap=True, markup=False)


def curl_line(gateway_url: str, header: str) -> str:
    """A line for a shell that asks the model `chat`."""
    body = '{"model": "chat", "messages": [{"role": "user", "content": "Hello"}], "stream": true}'
    words = ["curl", "-N", f"{gateway_url}/v1/chat/completions", "-H", header, "-H", "Content-Type: application/json"]
    return shlex.join([*words, "-d", body])
