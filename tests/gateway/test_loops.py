"""What goes on beside the requests: begun again when it ends, and ended with the process."""

import asyncio
from contextlib import suppress

import pytest

from gateway import loops
from gateway.loops import Loops


async def test_a_loop_that_loses_a_cancel_is_ended_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """As libraries do that take the cancel for the end of a time limit of their own."""
    monkeypatch.setattr(loops, "AGAIN_SECONDS", 0.01)
    begun: list[str] = []

    async def deaf() -> None:
        begun.append("deaf")
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        await asyncio.sleep(60)

    async def plain() -> None:
        begun.append("plain")
        await asyncio.sleep(60)

    kept = Loops()
    kept.keep(deaf)
    kept.keep(plain)
    await asyncio.sleep(0)
    await asyncio.wait_for(kept.end(), 10)
    await asyncio.sleep(0.05)
    assert begun == ["deaf", "plain"]
