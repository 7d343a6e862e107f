"""Worker, timer, web application and bus in one process, for as long as it runs: `onboard up`.

They share one loop, and a wake-up is a call. The bus has a thread, because its library blocks. They end in the order in
which work comes in: first the bus and HTTP accept nothing more, then the calls in flight are finished and written.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Protocol

import sqlalchemy as sa

from worker.core.model.wakeups import Wake, WakeUp
from worker.events.store.refused_events import PutRefusedBack
from worker.runtime.embedded import Embedded
from worker.runtime.web_application import app
from worker.web.server import listening
from worker.wiring.background import opened_work
from worker.wiring.container import Parts
from worker.wiring.runner import STAY


class Intake(Protocol):
    """Receives events in a thread of its own: the bus."""

    def run(self) -> None:
        """Run until `stop`. Raises an error that makes it useless."""

    def stop(self) -> None: ...


class AllInOne:
    """Works until it is interrupted."""

    def __init__(
        self,
        parts: Parts,
        web_parts: Parts,
        *,
        intake: Callable[[Wake], Intake] | None,
        look: Callable[[], str],
        key: str = "",
        put_back: PutRefusedBack | None = None,
    ) -> None:
        """`web_parts` belong to the web application, which has its own connections: neither waits for the other's.
        `intake(wake)` makes what receives events from the bus; `wake` may be called from any thread. `look` is a
        blocking call that returns lines on the progress; "" if nothing is new. `key`, `put_back`: as of
        `web.app`.
        """
        self._parts = parts
        self._web_parts = web_parts
        self._intake = intake
        self._look = look
        self._key, self._put_back = key, put_back
        self._embedded = Embedded(parts, work=opened_work(parts), stay=STAY)

    def interrupt(self) -> None:
        """Accept nothing more, and end once what is under way is done. On the loop."""
        self._embedded.interrupt()

    async def work(self, *, host: str, port: int, started: Callable[[int], None], say: Callable[[str], None]) -> None:
        """Work until interrupted. `started` gets the port, `say` what `look` returned.

        Raises OSError if it cannot listen, what the intake raises, and embedded.Outdated.
        """
        async with AsyncExitStack() as exits:
            embedded = await exits.enter_async_context(self._embedded)
            web = app(self._web_parts, wake=embedded.wake, key_to_look=self._key, put_back=self._put_back)
            listens_on = await exits.enter_async_context(listening(web, host=host, port=port))
            if self._intake is not None:
                await exits.enter_async_context(self._receiving(embedded))
            started(listens_on)
            looking: asyncio.Future[str] | None = None
            while not embedded.interrupted:
                if await embedded.tick():
                    embedded.log_back()
                if looking is None:
                    looking = asyncio.ensure_future(embedded.runner.in_thread(self._look))
                elif looking.done():
                    _say(looking, say)
                    looking = None
                await embedded.rest()
            say("ending: finishing what is under way")
            if looking is not None:
                await asyncio.wait([looking])
                _say(looking, say)

    @asynccontextmanager
    async def _receiving(self, embedded: Embedded) -> AsyncIterator[None]:
        """Receive events from the bus, in a thread, inside the block."""
        assert self._intake is not None  # noqa: S101 -- for mypy
        loop = asyncio.get_running_loop()
        failed: list[Exception] = []

        def wake(wake_up: WakeUp) -> None:
            loop.call_soon_threadsafe(embedded.wake, wake_up)

        intake = self._intake(wake)

        def receive() -> None:
            try:
                intake.run()
            except Exception as error:
                failed.append(error)
                loop.call_soon_threadsafe(embedded.interrupt)

        thread = threading.Thread(target=receive, name="bus")
        thread.start()
        try:
            yield
        finally:
            intake.stop()
            await asyncio.get_running_loop().run_in_executor(None, thread.join)
        if failed:
            raise failed[0]


def _say(looked: "asyncio.Future[str]", say: Callable[[str], None]) -> None:
    """Say what was found. The worker logs that the database cannot be used."""
    error = looked.exception()
    if error is None:
        if said := looked.result():
            say(said)
    elif not isinstance(error, sa.exc.OperationalError):
        raise error
