"""The time zones that windows are read in: of the system's zone database and that of the package, the newer one.

Python's own lookup takes the system's whenever there is one, however old, and a government's change of this year is
missing there until somebody updates the system.
"""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from zoneinfo import TZPATH, ZoneInfo, available_timezones

from sardeenz.errors import InvalidSpec


@dataclass(frozen=True, slots=True)
class ZoneDatabase:
    """Which database zones come from, and the versions that were found; `system` is empty where it names none."""

    used: str
    package: str
    system: str

    @property
    def version(self) -> str:
        """The version in use, such as 2026f."""
        return self.system if self.used == "system" else self.package

    @property
    def words(self) -> str:
        """A sentence for pages: which data decides, and what else lies there."""
        other = f"; the system has {self.system or 'none that says its version'}" if self.used == "package" else ""
        return f"time zones of {self.version}, from the {self.used}{other}"


@cache
def database() -> ZoneDatabase:
    """The newer of both: versions are a year and a letter, so they compare as words do."""
    system = next((version for folder in TZPATH if (version := _version(Path(folder)))), "")
    package = _version(files("tzdata").joinpath("zoneinfo"))
    return ZoneDatabase("system" if system > package else "package", package, system)


def _version(folder: Path | Traversable) -> str:
    """What a database says of itself, in either of the files that distributions keep; empty where none does."""
    for name, prefix in (("tzdata.zi", "# version "), ("+VERSION", "")):
        try:
            with folder.joinpath(name).open() as lines:
                first = lines.readline().strip()
        except OSError:
            continue
        if first.startswith(prefix):
            return first.removeprefix(prefix)
    return ""


@cache
def zone(name: str) -> ZoneInfo:
    """The zone of this IANA name. Raises InvalidSpec for a name that neither database knows."""
    if name not in names():
        example = "an IANA name such as Europe/Berlin, America/New_York or UTC"
        raise InvalidSpec(f"there is no time zone {name!r}; write {example}", field="zone")
    if database().used == "package" and (data := files("tzdata").joinpath("zoneinfo", *name.split("/"))).is_file():
        with data.open("rb") as content:
            return ZoneInfo.from_file(content, key=name)
    return ZoneInfo(name)


@cache
def names() -> frozenset[str]:
    """Every name that a zone may be given by."""
    return frozenset(available_timezones())
