"""The process: its log while it loads, its end on SIGTERM, and engines started in other ways."""

import signal
from pathlib import Path

import httpx2

from models_app.engines import progress
from tests.contract.engines import Engine, Target, running
from tests.contract.sse import chat, events
from tests.patience import until


def test_the_log_tells_every_phase_of_the_load(engine: Engine) -> None:
    until(lambda: progress.progress(engine.lines()).phase == progress.PHASES[-1][1], "the last phase")
    told = progress.progress(engine.lines())
    assert told.ratio == progress.PHASES[-1][2]
    assert told.facts["kv_tokens"] > 0
    assert told.facts["init_seconds"] >= 0


def test_lines_name_the_process_that_wrote_them(engine: Engine) -> None:
    for name in ("APIServer", "EngineCore"):
        assert any(line.startswith(f"({name} pid=") for line in engine.lines())


def test_sigterm_lets_a_stream_end(target: Target, model: Path, folder: Path) -> None:
    body = chat("a last story", max_tokens=100, ignore_eos=True, stream=True)
    with running(target, model, folder) as engine:
        with engine.client() as client:
            client.post("/v1/chat/completions", json=chat("warm up", max_tokens=2))
            with client.stream("POST", "/v1/chat/completions", json=body) as answer:
                stream = events(answer)
                next(stream)
                engine.process.send_signal(signal.SIGTERM)
                *_, last, end = stream
        assert end == "[DONE]"
        assert last["choices"][0]["finish_reason"] == "length"
        assert engine.process.wait(timeout=60) == 0


def test_an_engine_for_pooling_embeds_and_does_not_chat(target: Target, model: Path, folder: Path) -> None:
    with (
        running(target, model, folder, "--runner", "pooling", "--convert", "embed") as engine,
        engine.client() as client,
    ):
        answer = client.post("/v1/embeddings", json={"model": "sprat", "input": ["one", "two", "one"]}).json()
        first, second, again = (each["embedding"] for each in answer["data"])
        assert first == again
        assert first != second
        assert answer["usage"]["prompt_tokens"] == answer["usage"]["total_tokens"] > 0
        read = answer["usage"]["prompt_tokens"]
        until(lambda: engine.gauge("prompt_tokens_total") == read, "what was embedded is counted")
        assert engine.gauge("generation_tokens_total") == 0
        assert client.post("/pooling", json={"model": "sprat", "input": "one"}).status_code == 200
        _assert_ranks(client)
        assert client.post("/v1/chat/completions", json=chat("hello")).status_code == 404


def test_without_development_mode_there_is_no_sleep(target: Target, model: Path, folder: Path) -> None:
    if target.name == "vllm":
        return  # a start takes a minute, and this is one line of vLLM's documentation
    with running(target, model, folder, VLLM_SERVER_DEV_MODE="0") as engine, engine.client() as client:
        assert client.post("/sleep?level=1").status_code == 404
        assert client.get("/is_sleeping").status_code == 404


def _assert_ranks(client: httpx2.Client) -> None:
    scored = client.post("/score", json={"model": "sprat", "text_1": "one", "text_2": ["one", "two"]}).json()
    assert len(scored["data"]) == 2
    ranked = client.post("/rerank", json={"model": "sprat", "query": "one", "documents": ["two", "one"]}).json()
    assert ranked["results"][0]["index"] == 1
