"""Where the command line finds its installation: DATA_DIR/cli.json, readable by its owner alone.

Beside it the API key as the header that curl sends with `-H @FILE`: so no key stands in a shell's history.

SARDEENZ_URL, SARDEENZ_GATEWAY_URL, SARDEENZ_TOKEN and SARDEENZ_API_KEY take precedence, for installations elsewhere.
"""

import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Config:
    """Two addresses and two keys: `token` manages, `api_key` infers."""

    url: str = ""
    gateway_url: str = ""
    token: str = ""
    api_key: str = ""


def load(data_dir: Path) -> Config:
    """What was saved, or nothing."""
    try:
        saved = json.loads((data_dir / "cli.json").read_text())
    except (OSError, ValueError):
        return Config()
    return Config(**{field.name: str(saved.get(field.name, "")) for field in fields(Config)})


def save(data_dir: Path, config: Config) -> None:
    """cli.json and the header file for curl are replaced; a reader never sees half of either file."""
    _keep(data_dir / "cli.json", json.dumps(asdict(config), indent=2))
    _keep(header_path(data_dir), f"Authorization: Bearer {config.api_key}\n")


def header_path(data_dir: Path) -> Path:
    """The file that curl reads with `-H @FILE`."""
    return data_dir / "authorization-header"


def _keep(path: Path, text: str) -> None:
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    draft.rename(path)


def current() -> Config:
    """The installation meant by the environment, else the one of this checkout."""
    saved = load(Path(_said("SARDEENZ_DATA_DIR", str(Path(__file__).resolve().parents[2] / ".sardeenz"))))
    return Config(
        url=_said("SARDEENZ_URL", saved.url).rstrip("/"),
        gateway_url=_said("SARDEENZ_GATEWAY_URL", saved.gateway_url).rstrip("/"),
        token=_said("SARDEENZ_TOKEN", saved.token),
        api_key=_said("SARDEENZ_API_KEY", saved.api_key),
    )


def _said(name: str, default: str) -> str:
    """As `env.text`, which knows Django and so takes a verb longer to load than all the rest of this."""
    return os.environ.get(name) or default
