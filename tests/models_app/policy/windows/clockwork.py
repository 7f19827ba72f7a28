"""Windows as rows, and the applier at an instant of the test's choosing."""

from datetime import UTC, datetime
from typing import Any

from models_app.models import Deployment, Window, WindowState
from models_app.policy.windows.apply import Applier

MONDAY = datetime(2027, 6, 7, tzinfo=UTC)
"""A Monday at midnight."""


def window(name: str = "day", **fields: Any) -> Window:
    """Weekdays from 9 to 17 UTC, unless told otherwise."""
    given = {"cron": "0 9 * * 1-5", "zone": "UTC", "duration_seconds": 8 * 3600.0}
    return Window.objects.create(name=name, **(given | fields))


def asks(window: Window, whom: Deployment | str, **values: Any) -> WindowState:
    """What the window asks of a deployment or of a label."""
    named = {"label": whom} if isinstance(whom, str) else {"deployment": whom}
    return WindowState.objects.create(window=window, **named, **values)


def at(now: datetime, applier: Applier | None = None) -> None:
    """One look at policies at this instant, by a process that has just begun unless one is given."""
    (applier or Applier()).run(now)
