"""What an acceptance found: one row per figure, as JSON and as a table."""

import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `ok` is None where there is nothing to pass or fail."""

    point: str
    name: str
    value: float | str | bool | None
    unit: str = ""
    ok: bool | None = None
    note: str = ""


@dataclass(slots=True)
class Report:
    """All rows and where they were taken."""

    about: dict[str, Any]
    rows: list[Row] = field(default_factory=list)
    launch: dict[str, Any] = field(default_factory=dict)
    began: datetime = field(default_factory=lambda: datetime.now(UTC))

    def add(
        self,
        point: str,
        name: str,
        value: float | str | bool | None,
        unit: str = "",
        *,
        ok: bool | None = None,
        note: str = "",
    ) -> None:
        """Note one figure, and say it."""
        row = Row(point, name, value, unit, ok, note)
        self.rows.append(row)
        print(_line(row), flush=True)

    @property
    def failures(self) -> list[Row]:
        """What did not pass."""
        return [row for row in self.rows if row.ok is False]

    def write(self, folder: Path, name: str = "acceptance") -> None:
        """Write NAME.json and NAME.md; called after every point, so that a cut run leaves what it had."""
        folder.mkdir(parents=True, exist_ok=True)
        rows = [asdict(row) for row in self.rows]
        whole = {"began_at": self.began.isoformat(), "about": self.about, "launch": self.launch, "rows": rows}
        (folder / f"{name}.json").write_text(json.dumps(whole | {"failed": len(self.failures)}, indent=1) + "\n")
        (folder / f"{name}.md").write_text(self.markdown())

    def markdown(self) -> str:
        """The rows as a table for `docs/results/`."""
        about = "\n".join(f"* {name}: {value}" for name, value in self.about.items())
        table = "\n".join(_line(row) for row in self.rows)
        head = f"# Acceptance on a GPU, {self.began:%Y-%m-%d %H:%M} UTC\n\n{about}\n* failed: {len(self.failures)}\n"
        return f"{head}\n| point | what | figure | passed | note |\n| --- | --- | --- | --- | --- |\n{table}\n"


def _line(row: Row) -> str:
    passed = {True: "yes", False: "**NO**", None: ""}[row.ok]
    note = row.note.replace("|", "/").replace("\n", " / ")
    return f"| {row.point} | {row.name} | {_shown(row)} | {passed} | {note} |"


def _shown(row: Row) -> str:
    if row.value is None:
        return "unknown"
    if row.unit == "bytes":
        return f"{float(row.value) / 2**20:,.1f} MiB"
    if isinstance(row.value, float):
        return f"{row.value:.3f} {row.unit}".strip()
    return f"{row.value} {row.unit}".strip()
