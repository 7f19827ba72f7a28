"""What the history costs at 64 GPUs and 500 replicas: to keep ten seconds, to show an hour or a month.

`make bench` runs this.
"""

import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from gpus import samples
from models_app.node.history import FIELDS

pytestmark = [pytest.mark.django_db, pytest.mark.timeout(300)]

GPUS, REPLICAS = 64, 500
MONTH = timedelta(days=30)


def milliseconds(work: Callable[[], object]) -> float:
    """Of one go."""
    began = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - began)


def fill_month(subject: str, width: int) -> None:
    """A minute each of 30 days."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO gpus_sample (subject, step_seconds, at, values)
            SELECT %s, 60, minute, array_fill(random() * 1e11, ARRAY[%s])
            FROM generate_series(date_trunc('minute', now() - interval '30 days'), now(), interval '1 minute') AS minute
            """,
            [subject, width],
        )


def test_history(capsys: pytest.CaptureFixture[str]) -> None:
    now = timezone.now()
    read = {f"gpu:{number}": [float(number)] * len(FIELDS["gpu"]) for number in range(GPUS)}
    read |= {f"replica:{number}": [float(number)] * len(FIELDS["replica"]) for number in range(REPLICAS)}
    keeps = [milliseconds(lambda ago=ago: samples.keep(read, now - timedelta(seconds=10 * ago))) for ago in range(360)]
    rolls = milliseconds(lambda: samples.roll_up(now))
    again = milliseconds(lambda: samples.roll_up(now))
    for number in range(5):
        fill_month(f"gpu:full-{number}", len(FIELDS["gpu"]))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE gpus_sample")
    hour = milliseconds(lambda: samples.series("gpu:7", FIELDS["gpu"], now - timedelta(hours=1), now, now))
    month = milliseconds(lambda: samples.series("gpu:full-3", FIELDS["gpu"], now - MONTH, now, now))
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_total_relation_size('gpus_sample')::float / (SELECT count(*) FROM gpus_sample)")
        row_bytes = cursor.fetchone()[0]
    with capsys.disabled():
        print(f"\n{GPUS} GPUs and {REPLICAS} replicas                  ms")
        for name, value in (
            ("keep ten seconds", sum(keeps) / len(keeps)),
            ("make ten minutes", rolls),
            ("find them made", again),
            ("show an hour", hour),
            ("show a month", month),
        ):
            print(f"{name:>32} {value:10.1f}")
        print(f"{row_bytes:.0f} bytes a row")
