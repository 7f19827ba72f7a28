"""What goes on beside the requests, for as long as the process lives."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

AGAIN_SECONDS = 1.0

logger = logging.getLogger(__name__)


class Loops:
    """Endless coroutines. One that ends of a bug says so and begins again: what it knew last keeps serving."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def keep(self, loop: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """The coroutine runs as a task; when the task ends by itself, it is begun again after AGAIN_SECONDS."""
        task = asyncio.create_task(loop(), name=loop.__qualname__)
        self._tasks.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            if task in self._tasks:
                self._tasks.discard(task)
                if not task.cancelled():
                    logger.critical("%s ended", task.get_name(), exc_info=task.exception())
                    asyncio.get_running_loop().call_later(AGAIN_SECONDS, self.keep, loop)

        task.add_done_callback(ended)

    async def end(self) -> None:
        """All tasks are cancelled and awaited, and none is begun again; a cancel that a library loses is repeated."""
        tasks, self._tasks = self._tasks, set()
        while tasks:
            for task in tasks:
                task.cancel()
            ended, tasks = await asyncio.wait(tasks, timeout=AGAIN_SECONDS)
            await asyncio.gather(*ended, return_exceptions=True)
