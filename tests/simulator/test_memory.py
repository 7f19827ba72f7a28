"""Claims, segments and limits, as on a GPU with kvcached."""

import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx2
import pytest

from gpus import kvcached, simulated
from tests.contract.engines import KEY, Engine
from tests.contract.sse import chat
from tests.patience import until
from tests.simulator.conftest import GIB, Start

PAGE = 64 * 2**20
Held = Callable[[], int]


@pytest.fixture
def segments(tmp_path: Path) -> Path:
    return tmp_path / "segments"


@pytest.fixture
def held(tmp_path: Path) -> Held:
    """What the GPU's processes hold."""
    return lambda: simulated.read_all(tmp_path / "gpus", "lab", "1x24GiB")[0].memory_used_bytes


def _segment(directory: Path) -> kvcached.Segment:
    segment = kvcached.read(directory, "srdz_lab")
    assert segment is not None
    return segment


def _ask(engine: Engine, words: str, **more: object) -> threading.Thread:
    def post() -> None:
        with (
            suppress(httpx2.HTTPError),
            httpx2.Client(headers={"Authorization": f"Bearer {KEY}"}, timeout=60) as client,
        ):
            client.post(f"{engine.url}/v1/chat/completions", json=chat(words, **more))

    thread = threading.Thread(target=post, daemon=True)
    thread.start()
    return thread


def test_a_loaded_engine_holds_weights_overhead_and_mapped_pages(start: Start, held: Held, segments: Path) -> None:
    with start():
        segment = _segment(segments)
        assert segment.used_bytes == PAGE  # the null page
        assert segment.prealloc_bytes == PAGE
        assert held() == 5 * GIB + segment.mapped_bytes
        assert segment.limit_bytes == int(24 * GIB * 0.9) - 5 * GIB


def test_pages_grow_with_requests_and_shrink_to_the_reserve(start: Start, held: Held, segments: Path) -> None:
    with start("--no-enable-prefix-caching") as engine:
        asked = _ask(engine, "long " * 600, max_tokens=100, ignore_eos=True)
        until(lambda: _segment(segments).used_bytes > PAGE, "pages are in use")
        assert held() == 5 * GIB + _segment(segments).mapped_bytes
        asked.join()
        until(lambda: _segment(segments).used_bytes == PAGE, "only the null page is in use")
        assert _segment(segments).prealloc_bytes <= 2 * PAGE


@pytest.mark.parametrize("level", [1, 2])
def test_asleep_only_the_overhead_stays(start: Start, held: Held, segments: Path, level: int) -> None:
    with start("--enable-sleep-mode") as engine, engine.client() as client:
        before = held()
        client.post(f"/sleep?level={level}")
        assert held() == GIB
        assert _segment(segments).mapped_bytes == 0
        client.post("/wake_up")
        assert held() == before


def test_a_wake_that_does_not_fit_fails_and_stays_asleep(start: Start, held: Held, tmp_path: Path) -> None:
    with start("--enable-sleep-mode") as engine, _neighbour(tmp_path) as neighbour:
        with engine.client() as client:
            client.post("/sleep?level=1")
            neighbour.set(21 * GIB)
            answer = client.post("/wake_up")
            assert answer.status_code == 500
            assert "CUDA out of memory" in answer.json()["error"]["message"]
        with engine.client() as client:  # the connection of a 500 is closed, as vLLM does
            assert client.get("/is_sleeping").json() == {"is_sleeping": True}
            neighbour.set(GIB)
            assert client.post("/wake_up").status_code == 200


def test_a_limit_holds_requests_back_until_it_is_raised(start: Start, segments: Path) -> None:
    with start("--no-enable-prefix-caching") as engine:
        kvcached.set_limit(segments, "srdz_lab", 2 * PAGE)
        until(lambda: _waits(engine, segments), "a request waits")
        until(lambda: _segment(segments).used_bytes <= 2 * PAGE, "what was admitted before is done")
        kvcached.set_limit(segments, "srdz_lab", 20 * PAGE)
        until(lambda: engine.gauge("num_requests_waiting") == 0, "nobody waits")


def test_a_limit_takes_nothing_away_until_the_prefix_cache_is_dropped(start: Start, segments: Path) -> None:
    with start() as engine, engine.client() as client:
        client.post("/v1/chat/completions", json=chat("long " * 1500, max_tokens=2))
        used = _segment(segments).used_bytes
        assert used > 2 * PAGE  # what the prefix cache keeps
        kvcached.set_limit(segments, "srdz_lab", 2 * PAGE)
        client.post("/v1/chat/completions", json=chat("short", max_tokens=2))
        assert _segment(segments).shrinking
        assert client.post("/reset_prefix_cache").json() == {"success": True}

        def shrunk() -> bool:
            client.post("/v1/chat/completions", json=chat("short", max_tokens=2))
            return _segment(segments).mapped_bytes <= 2 * PAGE

        until(shrunk, "the pages are given back")


def test_a_limit_of_zero_is_ignored(start: Start, segments: Path) -> None:
    with start() as engine, engine.client() as client:
        (segments / "srdz_lab").write_bytes(bytes(24))
        for _ in range(3):
            answer = client.post("/v1/chat/completions", json=chat("hello", max_tokens=20, ignore_eos=True))
            assert answer.status_code == 200


def test_a_full_device_lets_requests_wait(start: Start, segments: Path, tmp_path: Path) -> None:
    with start("--no-enable-prefix-caching") as engine, _neighbour(tmp_path) as neighbour:
        neighbour.set(24 * GIB - 5 * GIB - _segment(segments).mapped_bytes)
        asked = _ask(engine, "long " * 1500, max_tokens=2)
        until(lambda: engine.gauge("num_requests_waiting") == 1, "it waits")
        neighbour.set(GIB)
        asked.join(30)
        assert not asked.is_alive()


def test_requests_that_outgrow_the_limit_are_preempted_and_finish(start: Start, segments: Path) -> None:
    with start("--no-enable-prefix-caching", "--tokens-per-second", "1000") as engine:
        kvcached.set_limit(segments, "srdz_lab", 3 * PAGE)
        asked = [_ask(engine, f"story {number}", max_tokens=900, ignore_eos=True) for number in range(2)]
        for each in asked:
            each.join(60)
        until(lambda: engine.gauge("request_success_total", finished_reason="length") == 2, "both are done")
        assert engine.gauge("num_preemptions_total") > 0


def test_a_clean_end_unlinks_the_segment_and_frees_the_gpu(start: Start, held: Held, segments: Path) -> None:
    with start() as engine:
        engine.process.send_signal(signal.SIGTERM)
        assert engine.process.wait(30) == 0
        assert kvcached.read(segments, "srdz_lab") is None
        assert held() == 0


def test_a_kill_leaks_the_segment_but_not_the_gpus_memory(start: Start, held: Held, segments: Path) -> None:
    with start() as engine:
        engine.process.kill()
        engine.process.wait()
        assert kvcached.read(segments, "srdz_lab") is not None
        assert held() == 0


def test_an_engine_that_does_not_fit_says_so_and_ends(start: Start, tmp_path: Path) -> None:
    with _neighbour(tmp_path) as neighbour:
        neighbour.set(22 * GIB)
        with pytest.raises(AssertionError, match=r"torch\.OutOfMemoryError: CUDA out of memory"), start():
            pass


def test_without_kvcached_the_whole_cache_is_taken_at_the_start(start: Start, held: Held) -> None:
    with start(ENABLE_KVCACHED="false"):
        assert int(24 * GIB * 0.9) - 2**21 <= held() <= int(24 * GIB * 0.9)
        with (
            pytest.raises(AssertionError, match="is less than desired GPU memory utilization"),
            start(ENABLE_KVCACHED="false"),
        ):
            pass


def test_every_gpu_of_the_engine_holds_its_part(start: Start, tmp_path: Path) -> None:
    both = {"SARDEENZ_SIMULATED_GPUS": "2x24GiB", "CUDA_VISIBLE_DEVICES": "GPU-sim-lab-0,GPU-sim-lab-1"}
    with start("--tensor-parallel-size", "2", **both):
        readings = simulated.read_all(tmp_path / "gpus", "lab", "2x24GiB")
        assert {reading.memory_used_bytes for reading in readings} == {5 * GIB + 2 * PAGE}


@contextmanager
def _neighbour(tmp_path: Path) -> Iterator[simulated.Claim]:
    """What somebody else's process holds on the same GPU."""
    sleeper = subprocess.Popen(["sleep", "600"])
    try:
        yield simulated.Claim(tmp_path / "gpus", "GPU-sim-lab-0", sleeper.pid, memory_bytes=24 * GIB)
    finally:
        sleeper.kill()
        sleeper.wait()


def _waits(engine: Engine, segments: Path) -> bool:
    """Whether a request for more than two pages waits; those from before the limit was noticed do not."""
    if engine.gauge("num_requests_waiting") == 0:
        _ask(engine, "long " * 700, max_tokens=2)
    return engine.gauge("num_requests_waiting") > 0


@pytest.mark.parametrize("flags", [(), ("--keep-host-copy",)])
def test_a_level_1_sleeper_pretends_to_hold_its_weights_on_the_host(
    start: Start, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    def on_host() -> int:
        return sum(simulated.host_claims(tmp_path / "gpus", "lab").values())

    with start("--enable-sleep-mode", *flags, SARDEENZ_NODE="lab") as engine, engine.client() as client:
        assert on_host() == 0
        client.post("/sleep?level=1&mode=wait")
        assert on_host() == 4 * GIB
        client.post("/wake_up")
        assert on_host() == (4 * GIB if flags else 0)
        client.post("/sleep?level=2&mode=wait")
        assert on_host() == (4 * GIB if flags else 0)
    assert on_host() == 0
