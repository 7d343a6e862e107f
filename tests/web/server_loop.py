"""An event loop in a thread, for the servers of tests that are no coroutines."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from onboarding_worker.http import event_loop


class Loop:
    """An event loop in a thread, for servers."""

    def __init__(self) -> None:
        self._loop = event_loop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def run(self, what):
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(60)

    async def _rest(self) -> None:
        """End what the servers have left: a task for each connection that a client has just closed."""
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    def end(self) -> None:
        self.run(self._rest())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture(scope="module")
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.end()
