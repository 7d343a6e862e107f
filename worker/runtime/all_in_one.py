"""Worker, timer, web application and bus in one process, for as long as it runs: `onboard up`.

Each is what it is in a process of its own; here they share one loop, and a bell is a call. The bus, whose library waits
in its own way, has a thread. Ended in the order in which work comes in: first nothing more is taken from the bus and
over HTTP, then what is being called is finished and written.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Protocol

import sqlalchemy as sa

from worker.domain.model.wakeups import Wake, WakeUp
from worker.engine.container import Parts
from worker.inbound.web import app
from worker.inbound.web.server import listening
from worker.publishers.contract import Target
from worker.runtime.embedded import Embedded


class Intake(Protocol):
    """What takes events in a thread of its own: the bus."""

    def run(self) -> None:
        """Until `stop`. Raises what makes it useless."""

    def stop(self) -> None: ...


class AllInOne:
    """Works until it is interrupted."""

    def __init__(
        self,
        parts: Parts,
        web_parts: Parts,
        targets: Mapping[str, Target],
        *,
        intake: Callable[[Wake], Intake] | None,
        look: Callable[[], str],
    ) -> None:
        """`web_parts` are those of the web application, which has its own connections, so that neither waits for the
        other's. `intake(ring)` makes what takes events from the bus; its `ring` may be called from any thread. `look`
        is a blocking call that says how the work stands, in words; "" where there is nothing new.
        """
        self._parts = parts
        self._web_parts = web_parts
        self._intake = intake
        self._look = look
        self._embedded = Embedded(parts, targets)

    def interrupt(self) -> None:
        """Take nothing more, and end once what is under way is done. On the loop."""
        self._embedded.interrupt()

    async def work(self, *, host: str, port: int, started: Callable[[int], None], say: Callable[[str], None]) -> None:
        """Work until interrupted. `started` is told the port, `say` what `look` found.

        Raises OSError where it cannot listen, what the intake raises, and embedded.Outdated.
        """
        async with AsyncExitStack() as exits:
            embedded = await exits.enter_async_context(self._embedded)
            web = app(self._web_parts, wake=embedded.wake)
            listens_on = await exits.enter_async_context(listening(web, host=host, port=port))
            if self._intake is not None:
                await exits.enter_async_context(self._taking(embedded))
            started(listens_on)
            looking: asyncio.Future[str] | None = None
            while not embedded.interrupted:
                if await embedded.tick():
                    embedded.say_there()
                if looking is None:
                    looking = asyncio.ensure_future(embedded.runner.in_thread(self._look))
                elif looking.done():
                    _say(looking, say)
                    looking = None
                await embedded.rest()
            say("ending: what is under way is finished")
            if looking is not None:
                await asyncio.wait([looking])
                _say(looking, say)

    @asynccontextmanager
    async def _taking(self, embedded: Embedded) -> AsyncIterator[None]:
        """Take events from the bus, beside the loop, until left."""
        assert self._intake is not None  # noqa: S101 -- for mypy
        loop = asyncio.get_running_loop()
        failed: list[Exception] = []

        def wake(wake_up: WakeUp) -> None:
            loop.call_soon_threadsafe(embedded.wake, wake_up)

        intake = self._intake(wake)

        def take() -> None:
            try:
                intake.run()
            except Exception as error:
                failed.append(error)
                loop.call_soon_threadsafe(embedded.interrupt)

        thread = threading.Thread(target=take, name="bus")
        thread.start()
        try:
            yield
        finally:
            intake.stop()
            await asyncio.get_running_loop().run_in_executor(None, thread.join)
        if failed:
            raise failed[0]


def _say(looked: "asyncio.Future[str]", say: Callable[[str], None]) -> None:
    """Say what was found. A database that went away in between is said by who works."""
    error = looked.exception()
    if error is None:
        if said := looked.result():
            say(said)
    elif not isinstance(error, sa.exc.OperationalError):
        raise error
