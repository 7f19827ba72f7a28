"""The lines of vLLM 0.30's log and the bounded reading of it."""

from pathlib import Path

import pytest

from models_app.engines import logs
from models_app.engines.progress import PHASES

GIB = 2**30
CORE = "(EngineCore pid=71) "
LOAD = """\
(APIServer pid=9) [kvcached][INFO][2026-11-24 10:02:11] Successfully patched vllm: ElasticBlockPool, EngineCore
(APIServer pid=9) INFO 11-24 10:02:12 [api_utils.py:286] non-default args: {'model_tag': '/models/llama-8b'}
(APIServer pid=9) INFO 11-24 10:02:13 [model.py:692] Resolved architecture: LlamaForCausalLM
(APIServer pid=9) INFO 11-24 10:02:13 [model.py:2030] Using max model len 8192
(EngineCore pid=71) INFO 11-24 10:02:30 [core.py:123] Initializing a V1 LLM engine (v0.30.0) with config: model=...
(EngineCore pid=71) INFO 11-24 10:02:33 [gpu_model_runner.py:5318] Starting to load model /models/llama-8b...
(EngineCore pid=71) \rLoading safetensors checkpoint shards:   0% Completed | 0/4 [00:00<?, ?it/s]\rLoading safetensors\
 checkpoint shards:  50% Completed | 2/4 [00:01<00:01,  1.61it/s]\r
(EngineCore pid=71) INFO 11-24 10:02:36 [default_loader.py:431] Loading weights took 2.41 seconds
(EngineCore pid=71) INFO 11-24 10:02:37 [gpu_model_runner.py:5417] Model loading took 14.99 GiB memory and 3.002 seconds
(EngineCore pid=71) INFO 11-24 10:02:44 [backends.py:293] Using cache directory: /c for vLLM's torch.compile
(EngineCore pid=71) INFO 11-24 10:03:02 [gpu_worker.py:277] Available KV cache memory: 52.25 GiB
(EngineCore pid=71) INFO 11-24 10:03:02 [kv_cache_utils.py:2395] GPU KV cache size: 428,032 tokens, Maximum concurrency\
 for 8,192 tokens per request: 52.25x
(EngineCore pid=71) \rCapturing CUDA graphs (decode, FULL):  33%|###3      | 1/3\r\
Capturing CUDA graphs (decode, FULL): 100%
(EngineCore pid=71) INFO 11-24 10:03:06 [gpu_model_runner.py:6930] Graph capturing finished in 4 secs, took 0.55 GiB
(EngineCore pid=71) INFO 11-24 10:03:06 [core.py:379] init engine (profile, create kv cache, warmup model) took 29.13 s\
 (compilation: 17.20 s)
(APIServer pid=9) INFO 11-24 10:03:07 [entry.py:139] Starting vLLM server on http://127.0.0.1:8801
(APIServer pid=9) INFO:     Application startup complete.
"""
LINES = logs.split(LOAD)


def test_a_whole_load_tells_its_bytes_tokens_and_seconds() -> None:
    told = logs.progress(LINES)
    assert (told.phase, told.ratio) == ("first answer", 0.99)
    assert told.facts == {
        "kvcached_engaged": True,
        "weights_bytes": int(14.99 * GIB),
        "weights_seconds": 2.41,
        "graphs_bytes": int(0.55 * GIB),
        "kv_bytes": int(52.25 * GIB),
        "kv_tokens": 428032,
        "max_concurrency": 52.25,
        "init_seconds": 29.13,
    }


def test_every_line_of_a_load_moves_it_forward() -> None:
    ratios = [logs.progress(LINES[:count]).ratio for count in range(len(LINES) + 1)]
    assert ratios == sorted(ratios)
    assert len(set(ratios)) >= len(PHASES)


@pytest.mark.parametrize(
    ("count", "phase"),
    [(0, ""), (1, ""), (2, "starting"), (6, "loading weights"), (9, "weights on the GPU"), (13, "capturing graphs")],
)
def test_the_phase_is_the_last_milestone(count: int, phase: str) -> None:
    assert logs.progress(LINES[:count]).phase == phase


def test_shards_move_the_bar_between_two_milestones() -> None:
    halfway = logs.progress(LINES[:7])
    assert halfway.phase == "loading weights"
    assert halfway.ratio == pytest.approx(0.15 + 0.34 * 0.5)


def test_an_old_line_does_not_take_a_load_back() -> None:
    assert logs.progress([*LINES, LINES[1]]).ratio == 0.99


def test_the_lines_of_tensor_parallel_workers_are_understood() -> None:
    told = logs.progress(
        ["(Worker_TP1 pid=72) INFO 11-24 10:00:00 [x.py:1] Model loading took 7.51 GiB memory and 2 s"]
    )
    assert told.facts == {"weights_bytes": int(7.51 * GIB)}


def test_kvcached_tells_its_capacity_in_bytes() -> None:
    told = logs.progress(
        [
            CORE + "WARNING [patches.py:3012] Using kvcached process-local KV capacity: budget=72155430912 bytes, "
            "weights=16095643136 bytes, torch_peak=1316290560 bytes, cudagraph=0 bytes (ignored), "
            "available=54743497216 bytes; whole-device non-torch and CUDA Graph deltas are ignored"
        ]
    )
    assert told.phase == "sizing the KV cache"
    assert told.facts == {"kv_bytes": 54743497216, "activation_bytes": 1316290560}


def test_of_a_progress_bar_only_the_last_drawing_stays() -> None:
    assert logs.split("a\rb\r\n\nc\r\n  \n\rd") == ["b", "c", "d"]


def test_a_tail_is_bounded_and_begins_with_a_whole_line(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    log.write_text("".join(f"line {number:04}\n" for number in range(1000)))
    assert logs.tail(log, max_bytes=35) == ["line 0997", "line 0998", "line 0999"]
    assert len(logs.tail(log)) == 1000


def test_a_missing_log_is_empty(tmp_path: Path) -> None:
    assert logs.tail(tmp_path / "none") == []
    assert logs.read_from(tmp_path / "none", 10) == ("", 0)


def test_a_log_that_is_no_text_is_still_read(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    log.write_bytes(b"caf\xe9 \xff\n")
    assert logs.tail(log) == ["caf\ufffd \ufffd"]


def test_reading_on_gives_whole_lines_only(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    log.write_text("one\ntw")
    text, offset = logs.read_from(log, 0)
    assert (text, offset) == ("one\n", 4)
    log.write_text("one\ntwo\n")
    assert logs.read_from(log, offset) == ("two\n", 8)


def test_a_bar_that_is_being_drawn_is_read_on(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    log.write_text("\rshards 10%\rshards 20%", newline="")
    text, offset = logs.read_from(log, 0)
    assert logs.split(text) == ["shards 10%"]
    assert offset == len("\rshards 10%\r")


def test_reading_on_starts_again_when_the_log_is_new(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    log.write_text("new\n")
    assert logs.read_from(log, 4000) == ("new\n", 4)


def test_a_line_longer_than_a_read_is_cut_not_lost(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    log.write_text("x" * 100)
    assert logs.read_from(log, 0, max_bytes=60) == ("x" * 60, 60)


def test_each_start_of_a_replica_has_a_log_of_its_own() -> None:
    assert logs.path(7, 1, "llama") != logs.path(7, 2, "llama")
