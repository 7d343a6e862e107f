"""Worker, timer, web application and bus in one process, for as long as it runs: `onboard up`.

They share one loop, and a wake-up is a call. The bus has a thread, because its library blocks. They end in the order in
which work comes in: first the bus and HTTP accept nothing more, then the calls in flight are finished and written.
"""

import asyncio
import signal
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


async def work_everything(
    parts: Parts,
    web_parts: Parts,
    *,
    host: str,
    port: int,
    intake: Callable[[Wake], Intake] | None,
    look: Callable[[], str],
    started: Callable[[int], None],
    say: Callable[[str], None],
    key: str = "",
    put_back: PutRefusedBack | None = None,
) -> None:
    """Work until SIGINT or SIGTERM: then nothing more is accepted, and what is under way is done.

    `web_parts` belong to the web application, which has its own connections: neither waits for the other's.
    `intake(wake)` makes what receives events from the bus; `wake` may be called from any thread. `started` gets the
    port. `look` is a blocking call that returns lines on the progress, for `say`; "" if nothing is new. `key`,
    `put_back`: as of `web_application.app`. Raises OSError if it cannot listen, what the intake raises, and
    embedded.Outdated.
    """
    embedded = Embedded(parts, work=opened_work(parts), stay=STAY)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, embedded.interrupt)
    async with AsyncExitStack() as exits:
        await exits.enter_async_context(embedded)
        web = app(web_parts, wake=embedded.wake, key_to_look=key, put_back=put_back)
        listens_on = await exits.enter_async_context(listening(web, host=host, port=port))
        if intake is not None:
            await exits.enter_async_context(_receiving(intake, embedded))
        started(listens_on)
        looking: asyncio.Future[str] | None = None
        while not embedded.interrupted:
            if await embedded.tick():
                embedded.log_back()
            if looking is None:
                looking = asyncio.ensure_future(embedded.runner.in_thread(look))
            elif looking.done():
                _say(looking, say)
                looking = None
            await embedded.rest()
        say("ending: finishing what is under way")
        if looking is not None:
            await asyncio.wait([looking])
            _say(looking, say)


@asynccontextmanager
async def _receiving(made: Callable[[Wake], Intake], embedded: Embedded) -> AsyncIterator[None]:
    """Receive events from the bus, in a thread, inside the block."""
    loop = asyncio.get_running_loop()
    failed: list[Exception] = []

    def wake(wake_up: WakeUp) -> None:
        loop.call_soon_threadsafe(embedded.wake, wake_up)

    intake = made(wake)

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
        await loop.run_in_executor(None, thread.join)
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
