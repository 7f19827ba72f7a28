"""A scrape of one gateway process tells of all of them, and what it once said is never taken back."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from gateway.metering.meter import Meter, Record
from gateway.metering.tally import E2E, Sums
from gateway.scrape import Scrape
from gateway.wire.usage import Usage

CHILD = """
import asyncio, sys
from pathlib import Path

import django

django.setup()
from gateway.scrape import Scrape
from gateway.metering.tally import Sums
asyncio.run(Scrape(Path(sys.argv[1]), "child", lambda: Sums(dropped=5, gauges={"in_flight": 3})).publish())
print("ready", flush=True)
sys.stdin.read()
"""


class Process:
    """What one gateway process has of this."""

    def __init__(self, folder: Path, name: str) -> None:
        self.meter = Meter(self._write)
        self.scrape = Scrape(folder, name, lambda: Sums(self.meter.tallies, {"x": 1}, 0, {"in_flight": 2}))

    async def _write(self, records: object) -> None: ...

    def call(self, name: str = "m", **changes: object) -> None:
        usage = Usage(7, 5, 3)
        record = Record(1, name, "/v1/completions", 1, 200, "ok", False, usage, 0.0, 0.0, None, 0.2, 0.0)
        self.meter.note(msgspec.structs.replace(record, **changes))

    async def sample(self, name: str, **labels: str) -> float:
        page = (await self.scrape.page()).decode()
        found = [sample for family in text_string_to_metric_families(page) for sample in family.samples]
        return sum(s.value for s in found if s.name == name and labels.items() <= s.labels.items())

    def end(self) -> None:
        assert self.scrape._lock is not None
        os.close(self.scrape._lock)


async def test_every_process_shows_the_sum_of_all(tmp_path: Path) -> None:
    one, two = Process(tmp_path, "one"), Process(tmp_path, "two")
    one.call()
    two.call()
    two.call("other", outcome="cancelled")
    await two.scrape.publish()
    calls = "sardeenz_gateway_calls_total"
    assert await one.sample(calls, model="m", outcome="ok") == 2
    assert await one.sample(calls, model="other", outcome="cancelled") == 1
    assert await two.sample("sardeenz_gateway_tokens_total", kind="prompt") == 21
    assert await two.sample("sardeenz_gateway_faults_total", what="x") == 2
    assert await two.sample("sardeenz_gateway_in_flight") == 4
    one.call()
    assert await one.sample(calls) == 4
    assert await two.sample(calls) == 4


async def test_what_a_killed_process_counted_stays_and_what_it_held_does_not(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CHILD, str(tmp_path)]
    dropped = "sardeenz_gateway_usage_dropped_total"
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "sardeenz.settings"}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        one = Process(tmp_path, "one")
        assert (await one.sample(dropped), await one.sample("sardeenz_gateway_in_flight")) == (5, 5)
        child.send_signal(signal.SIGKILL)
    for _ in range(3):
        assert (await one.sample(dropped), await one.sample("sardeenz_gateway_in_flight")) == (5, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ended", "ended.lock", "one.lock", "one.sums"]


async def test_sums_never_go_down_while_processes_come_go_and_are_asked_at_once(tmp_path: Path) -> None:
    shown = 0.0
    for generation in range(5):
        processes = [Process(tmp_path, f"{generation}-{number}") for number in range(3)]
        for process in processes:
            process.call()
            asked = await asyncio.gather(*(each.sample("sardeenz_gateway_calls_total") for each in processes))
            assert min(asked) >= shown
            shown = max(asked)
        for process in processes:
            process.end()
    assert shown == 15


async def test_a_process_killed_between_two_steps_of_a_burial_is_not_counted_twice(tmp_path: Path) -> None:
    gone, one = Process(tmp_path, "gone"), Process(tmp_path, "one")
    gone.call()
    await gone.scrape.publish()
    left = {path: path.read_bytes() for path in tmp_path.iterdir()}
    gone.end()
    assert await one.sample("sardeenz_gateway_calls_total") == 1
    for path, data in left.items():  # as if its files had not been removed yet
        path.write_bytes(data)
    for _ in range(2):
        assert await one.sample("sardeenz_gateway_calls_total") == 1


async def test_without_its_folder_a_process_speaks_for_itself(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    one = Process(tmp_path / "file", "one")
    one.call()
    assert await one.sample("sardeenz_gateway_calls_total") == 1
    assert one.scrape.outage.times == 1


async def test_files_of_another_version_are_passed_over(tmp_path: Path) -> None:
    one, two = Process(tmp_path, "one"), Process(tmp_path, "two")
    one.call()
    await two.scrape.publish()
    (tmp_path / "two.sums").write_bytes(b"\xc1")
    (tmp_path / "ended").write_bytes(b"\xc1")
    assert await one.sample("sardeenz_gateway_calls_total") == 1


async def test_histograms_have_bounds_that_count_what_is_at_most_as_long(tmp_path: Path) -> None:
    one = Process(tmp_path, "one")
    for seconds in (0.01, 0.0101, 600.0, 601.0):
        one.call(e2e_seconds=seconds)
    name = "sardeenz_gateway_e2e_seconds"
    counts = [await one.sample(f"{name}_bucket", le=str(bound)) for bound in (E2E[0], E2E[1], E2E[-1], "+Inf")]
    assert counts == [1, 2, 3, 4]
    assert await one.sample(f"{name}_count") == 4
    assert await one.sample(f"{name}_sum") == 1201.0201
    assert await one.sample("sardeenz_gateway_ttft_seconds_count") == 0


async def test_a_name_that_nothing_is_served_under_makes_no_series(tmp_path: Path) -> None:
    one = Process(tmp_path, "one")
    one.meter._known = {"m"}.__contains__
    one.call("made up")
    one.call("m")
    assert await one.sample("sardeenz_gateway_calls_total") == 1
    assert b"made up" not in await one.scrape.page()
