"""What engines say about themselves at /metrics: vLLM's Prometheus text, read by exact metric name."""

import asyncio
import math
import re
from collections import defaultdict
from collections.abc import Mapping
from typing import TypedDict

import httpx2

TIMEOUT_SECONDS = 1.0
"""For the whole answer of one engine; all are asked at once."""

_SAMPLE = re.compile(r"^([A-Za-z_:][A-Za-z0-9_:]*)(?:\{(.*)\})?\s+(\S+)(?:\s+-?\d+)?$")
_AWAKE = re.compile(r'(?:^|,)\s*sleep_state="awake"')


class EngineMetrics(TypedDict):
    """One engine, summed over its data-parallel ranks; None where it did not say."""

    running: int | None
    waiting: int | None
    kv_usage_ratio: float | None
    prompt_tokens: int | None
    generation_tokens: int | None
    sleeping: bool | None


def unknown() -> EngineMetrics:
    """An engine that was not asked or did not answer."""
    return EngineMetrics(
        running=None, waiting=None, kv_usage_ratio=None, prompt_tokens=None, generation_tokens=None, sleeping=None
    )


def parse(text: str) -> EngineMetrics:
    """The numbers in an engine's Prometheus text. The fullest rank speaks for KV usage; any rank asleep, all are."""
    samples = _samples(text)
    usage = [value for _, value in samples["vllm:kv_cache_usage_perc"]]
    awake = [value for labels, value in samples["vllm:engine_sleep_state"] if _AWAKE.search(labels)]
    return EngineMetrics(
        running=_sum(samples["vllm:num_requests_running"]),
        waiting=_sum(samples["vllm:num_requests_waiting"]),
        kv_usage_ratio=max(usage, default=None),
        prompt_tokens=_sum(samples["vllm:prompt_tokens_total"]),
        generation_tokens=_sum(samples["vllm:generation_tokens_total"]),
        sleeping=min(awake) == 0 if awake else None,
    )


def scrape(urls: Mapping[str, str]) -> dict[str, EngineMetrics]:
    """Ask every engine at once: name -> metrics, for those that answered in time."""
    return asyncio.run(_scrape(urls)) if urls else {}


async def _scrape(urls: Mapping[str, str]) -> dict[str, EngineMetrics]:
    # Engines are our own neighbours: no proxy from the environment, no certificates to load.
    async with httpx2.AsyncClient(trust_env=False, verify=False, timeout=TIMEOUT_SECONDS) as client:
        answers = await asyncio.gather(*(_ask(client, url) for url in urls.values()))
    return {name: answer for name, answer in zip(urls, answers, strict=True) if answer is not None}


async def _ask(client: httpx2.AsyncClient, url: str) -> EngineMetrics | None:
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            answer = await client.get(f"{url.rstrip('/')}/metrics")
    except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError):
        return None
    return parse(answer.text) if answer.status_code == 200 else None


def _samples(text: str) -> dict[str, list[tuple[str, float]]]:
    """Labels and value of every finite sample of vLLM's, by metric name."""
    found: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for line in text.splitlines():
        match = _SAMPLE.match(line) if line.startswith("vllm:") else None
        if match is not None and (value := _number(match[3])) is not None:
            found[match[1]].append((match[2] or "", value))
    return found


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _sum(samples: list[tuple[str, float]]) -> int | None:
    return round(sum(value for _, value in samples)) if samples else None
