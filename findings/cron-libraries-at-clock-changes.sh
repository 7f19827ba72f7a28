#!/usr/bin/env bash
# cronsim 2.8 and croniter 7.0.0: when they open what cron expressions name, on the days the clocks change.
#
# Guessed: two ways of writing the same times (`*/30 2` and `0,30 2`, `0 *` and `0 0-23`) come at the same instants, and
# both libraries agree, for both say that they follow Debian's cron.
# Seen: in spring cronsim leaves `*/30 2` out and moves `0,30 2` to the end of the gap, where croniter moves both (once).
# In autumn cronsim comes twice in the hour that is there twice for `0 *`, and once for `0 0-23`, `0 2,3` and `30 2`;
# croniter comes twice for all of them, the daily one included. For `30 0-23` cronsim comes an extra time in spring.
# Why it matters: whoever has a library decide what a clock change means has it decided by how an expression is spelt.
# Ask it for times of a clock that never changes, and decide with the zone's own offsets.
#
# Needs Python 3.11 or newer and half a minute.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile "cronsim==2.8" "croniter==7.0.0" tzdata
cat > "$folder/look.py" <<'PYTHON'
import sys
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from croniter import croniter
from cronsim import CronSim

BERLIN = ZoneInfo("Europe/Berlin")
SPRING = datetime(2027, 3, 28, 0, 50, tzinfo=BERLIN)
AUTUMN = datetime(2027, 10, 31, 0, 50, tzinfo=BERLIN)
wrong = 0


def coming(library, expression, start):
    """The instants of the next four hours, as UTC."""
    found, last = [], start.astimezone(UTC) + timedelta(hours=4)
    times = CronSim(expression, start) if library is CronSim else croniter(expression, start, ret_type=datetime)
    while (moment := next(times).astimezone(UTC)) < last:
        found.append(f"{moment:%H:%M}")
    return " ".join(found)


def see(expression, start, by_cronsim, by_croniter):
    global wrong
    seen = coming(CronSim, expression, start), coming(croniter, expression, start)
    same = seen == (by_cronsim, by_croniter)
    wrong += not same
    season = "spring" if start is SPRING else "autumn"
    print("as stated" if same else "CHANGED  ", f"{season} {expression:14} cronsim: {seen[0] or '-':24} croniter: {seen[1]}")


see("*/30 2 * * *", SPRING, "", "01:00")
see("0,30 2 * * *", SPRING, "01:00", "01:00")
see("30 * * * *", SPRING, "00:30 01:30 02:30 03:30", "00:30 01:30 02:30 03:30")
see("30 0-23 * * *", SPRING, "00:30 01:00 01:30 02:30 03:30", "00:30 01:30 02:30 03:30")
see("0 * * * *", AUTUMN, "23:00 00:00 01:00 02:00", "23:00 00:00 01:00 02:00")
see("0 0-23 * * *", AUTUMN, "23:00 00:00 02:00", "23:00 00:00 01:00 02:00")
see("0 2,3 * * *", AUTUMN, "00:00 02:00", "00:00 01:00 02:00")
see("30 2 * * *", AUTUMN, "00:30", "00:30 01:30")
sys.exit(wrong > 0)
PYTHON
"$folder/venv/bin/python" "$folder/look.py"
