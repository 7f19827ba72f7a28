"""What can go wrong between a document of the configuration and the rows."""

from typing import NamedTuple

from sardeenz.errors import Conflict, NotFound, Refused


class Problem(NamedTuple):
    """What is wrong in a document: at which line, of what, a code and words."""

    line: int
    where: str
    code: str
    message: str

    def __str__(self) -> str:
        place = f"line {self.line}" if self.line else ""
        return ": ".join(part for part in (place, self.where, self.message) if part)


class ConfigurationInvalid(Refused):
    """The document cannot be applied; field: problems, each with its line."""

    code = "configuration_invalid"

    def __init__(self, *problems: Problem) -> None:
        ordered = sorted(set(problems))
        text = "\n".join(map(str, ordered))
        super().__init__(text, problems=[problem._asdict() for problem in ordered])
        self.problems = ordered


class ConfigurationConflict(Conflict):
    """Somebody else changed what the document changes; field: conflicts."""

    code = "configuration_conflict"


class ConfigurationMoved(Conflict):
    """What was shown is not what would happen now; look again."""

    code = "configuration_moved"


class NoSuchVersion(NotFound):
    """There is no version of this number, or it is not kept any more; field: version."""

    code = "no_such_version"
