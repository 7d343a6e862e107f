"""`onboard web`: webhooks and events over HTTP. `onboard up`: these, worker, timer and bus in one process.

They share one loop, and a wake-up is a call. The bus has a thread, because its library blocks. They end in the order in
which work comes in: first the bus and HTTP accept nothing more, then the calls in flight are finished and written.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager, suppress
from functools import partial
from secrets import token_urlsafe

import click
import sqlalchemy as sa

from onboarding_worker.cli.exits import NEEDS_A_PERSON, CannotStart, refusing
from onboarding_worker.cli.invocation import Invocation, log_info
from onboarding_worker.cli.lists.listed import refuse_what_cannot_work
from onboarding_worker.cli.opening import refusing_what_fails, wake_ups_of
from onboarding_worker.cli.running.summary import lift_stopped
from onboarding_worker.cli.running.work import line_of
from onboarding_worker.core.database import schema
from onboarding_worker.core.foundation.clock import monotonic
from onboarding_worker.core.foundation.notation import counted
from onboarding_worker.core.foundation.tls import is_loopback
from onboarding_worker.core.model.states import BatchState
from onboarding_worker.core.model.wakeups import WakeUp
from onboarding_worker.http import event_loop
from onboarding_worker.lists.store.batches import BatchFacts
from onboarding_worker.reporting.batch_report import state_of
from onboarding_worker.reporting.store.counts import BatchCounts
from onboarding_worker.runtime.embedded import AlreadyWorking, Embedded, Outdated, sole_worker
from onboarding_worker.runtime.web_application import ROUTES, app, no_wake_up
from onboarding_worker.settings.addresses import bind_address
from onboarding_worker.settings.model import Settings
from onboarding_worker.settings.needs import SERVING
from onboarding_worker.settings.policies import buys_on_click
from onboarding_worker.settings.problems import SettingsError
from onboarding_worker.settings.rules import has_credentials, no_credentials
from onboarding_worker.web.server import listening, serve
from onboarding_worker.web.webhooks.sources import Closed, account_sources
from onboarding_worker.wiring.background import opened_work
from onboarding_worker.wiring.container import Parts
from onboarding_worker.wiring.runner import STAY

LOOK_SECONDS = 10.0  # between two looks at the batches' progress
LOOK_SHARE = 0.1  # the looks take at most this share of the time
# How often ended batches are counted too: `retry` or a late result may open one again.
LOOK_AGAIN_SECONDS = 600.0
OVER = (BatchState.FINISHED, BatchState.CANCELLED)


@click.command()
@click.option("--bind", metavar="HOST:PORT", help="Where to listen.  [default: bind of [web], 127.0.0.1:8080]")
@click.pass_obj
def web(invocation: Invocation, bind: str | None) -> None:
    """Receive webhooks and events over HTTP, and show the dashboard, until ended.

    \b
    POST /webhooks/ACCOUNT                   a provider's webhooks about sessions (docs/reference/webhooks.md)
    POST /webhooks/ACCOUNT/SECRET/REQUESTID  the same, for FrankieOne
    POST /events, GET /events/ID             sign-up events (docs/reference/http.md)
    GET /healthz, GET /readyz
    GET /openapi.yaml                        all routes for programs, with those of features
    GET /                                    the dashboard, where it is installed

    On PostgreSQL any number of web processes can run, next to any number of workers. On SQLite one can run next to one
    `onboard run --all`, which finds new events within a second (without --all it works its own list alone). Waits for a
    database that cannot be reached, and for `onboard db upgrade`.

    SIGTERM ends it: requests that are under way are answered first.
    """
    from onboarding_worker.runtime.celery_settings import why_not_with_workers  # imported here: kombu

    settings = invocation.settings(SERVING)
    host, port = address(settings, bind)
    key = key_to_look(host)
    log_info(invocation)
    with refusing(SettingsError, ValueError):
        parts = Parts(settings)
    # SQLite alone fails: its file is upgraded before the process listens. The process waits for other databases.
    with closing(parts), refusing_what_fails(), listening_at(host, port):
        if parts.database.is_sqlite:
            with suppress(schema.NotMigrated):  # a revision that this release does not know: /readyz reports it
                schema.upgrade(parts.database)
        if not any(sender.keys for sender in settings.web.senders.values()):
            click.echo("warning: web.senders: none has keys, so no client can post events", err=True)
        for source in account_sources(parts.accounts, parts.keyring, parts.clock).values():
            if isinstance(source, Closed):
                click.echo(f"warning: {source.why}; until this is fixed, its webhooks are refused", err=True)
        with parts.heartbeat("web"):
            # Where no worker can run, the process that works on the database finds what is due.
            wake = no_wake_up if why_not_with_workers(settings) else wake_ups_of(settings).send_soon
            application = app(parts, wake=wake, key_to_look=key)
            started = partial(show_address, settings, host, key=key)
            event_loop.run(serve(application, host=host, port=port, started=started))


@contextmanager
def listening_at(host: str, port: int) -> Iterator[None]:
    """Raises CannotStart where the block cannot listen."""
    try:
        yield
    except OSError as error:
        raise CannotStart(f"{host}:{port} cannot be listened on: {error.strerror or error}") from None


def address(settings: Settings, bind: str | None) -> tuple[str, int]:
    """Where to listen; the option follows the same rule as the configuration. Raises CannotStart."""
    if bind is None:
        return settings.web.host, settings.web.port
    try:
        host, port = bind_address(bind)
    except ValueError as error:
        raise click.UsageError(f"--bind: {error}") from None
    if not is_loopback(host) and not has_credentials(settings):
        raise CannotStart(f"--bind: {no_credentials()}")
    return host, port


def key_to_look(host: str) -> str:
    """Opens pages that are only for looking, where only this machine can ask; else ""."""
    return token_urlsafe(16) if is_loopback(host) else ""


def show_address(settings: Settings, host: str, port: int, key: str) -> None:
    """Say where the process listens. `key`: as `key_to_look` has made it."""
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    click.echo(f"listening on {address}", err=True)
    for routes in ROUTES.offered() if key else ():
        if told := routes.told(settings, address, key):
            click.echo(told, err=True)


@click.command()
@click.option("--bind", metavar="HOST:PORT", help="Where to listen.  [default: bind of [web], 127.0.0.1:8080]")
@click.option("--yes", is_flag=True, help="Also work batches that were stopped with Ctrl-C, without asking.")
@click.pass_obj
def up(invocation: Invocation, bind: str | None, yes: bool) -> None:
    """Run everything in one process, until ended: worker, scheduler, web, and bus if there is a [bus] or a broker.

    For one machine without a broker. Import lists with `onboard import LIST` in another terminal, or send events over
    HTTP. The process handles webhooks, expired sessions, reissues and reminders all the time. Batches that were stopped
    with Ctrl-C stay stopped, unless you agree. `onboard status --watch` shows the progress. On SQLite no other process
    can work on the database; on PostgreSQL other workers can.

    SIGTERM or Ctrl-C ends it: it claims no more work, and finishes calls in flight. Exit codes: 0 ended by a signal,
    1 the database was upgraded to a newer release, 2 could not start.
    """
    with invocation.parts(migrate=True) as parts:
        host, port = address(parts.settings, bind)
        refuse_what_cannot_work(parts)
        # The web application has connections of its own: neither waits for the other's.
        web_parts = Parts(parts.settings, meters=parts.meters)
        with closing(web_parts), listening_at(host, port), refusing(AlreadyWorking), sole_worker(parts, "up"):
            agreed = False
            with suppress(CannotStart):  # without a terminal, batches that were stopped with Ctrl-C stay so
                agreed = lift_stopped(parts, yes=yes)
            if not agreed:
                click.echo("left alone, as a person stopped them; --yes sends them too", err=True)
            parts.resume()
            if stopped := parts.emergency_stops.find():
                click.echo(f"{stopped.in_words}; nothing is sent until `onboard resume --all`", err=True)
            with parts.heartbeat("up"):
                try:
                    event_loop.run(_work_everything(parts, web_parts, host, port))
                except Outdated as error:
                    click.echo(f"{error}; what was under way is written", err=True)
                    raise SystemExit(NEEDS_A_PERSON) from None


async def _work_everything(parts: Parts, web_parts: Parts, host: str, port: int) -> None:
    """Work until SIGINT or SIGTERM: then nothing more is accepted, and what is under way is done. Raises OSError if it
    cannot listen, what the bus raises, and Outdated."""
    settings, key = parts.settings, key_to_look(host)
    embedded = Embedded(parts, work=opened_work(parts), stay=STAY)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, embedded.interrupt)
    async with AsyncExitStack() as exits:
        await exits.enter_async_context(embedded)
        web = app(web_parts, wake=embedded.wake, key_to_look=key)
        listens_on = await exits.enter_async_context(listening(web, host=host, port=port))
        if settings.bus is not None or not settings.broker.url.startswith("memory"):
            await exits.enter_async_context(_receiving(settings, embedded))
        show_address(settings, host, listens_on, key)
        click.echo("working; add a list with `onboard import LIST`, end with Ctrl-C", err=True)
        telling = asyncio.create_task(_tell_progress(_Watch(parts), embedded))
        exits.callback(telling.cancel)
        while not (embedded.interrupted or telling.done()):
            if await embedded.tick():
                embedded.log_back()
            await embedded.rest()
        click.echo("ending: finishing what is under way", err=True)
        await telling  # raises what has ended it


@asynccontextmanager
async def _receiving(settings: Settings, embedded: Embedded) -> AsyncIterator[None]:
    """Receive events from the bus, in a thread, inside the block."""
    # Imported here: kombu takes half a second, which a process without a queue saves.
    from onboarding_worker.cli.commands.workers import receive
    from onboarding_worker.events.bus.sources import sources_with_senders
    from onboarding_worker.runtime.bus_consumers import Consumers

    if not (sources := sources_with_senders(settings)):
        yield
        return
    loop = asyncio.get_running_loop()

    def wake(wake_up: WakeUp) -> None:  # from any thread
        loop.call_soon_threadsafe(embedded.wake, wake_up)

    consumers = Consumers(settings, sources, wake)
    receiving = asyncio.create_task(asyncio.to_thread(receive, consumers))
    receiving.add_done_callback(lambda ended: embedded.interrupt() if ended.exception() is not None else None)
    try:
        yield
    finally:
        consumers.stop()
        await asyncio.wait([receiving])
    receiving.result()  # raises what has ended it


async def _tell_progress(watch: "_Watch", embedded: Embedded) -> None:
    """Until the process is to end. The worker logs that the database cannot be used."""
    while not embedded.interrupted:
        with suppress(sa.exc.OperationalError):
            if said := await embedded.runner.in_thread(watch.look):
                click.echo(said, err=True)
        await embedded.rest()


def since_the_invitation(counts: BatchCounts) -> str:
    """What has happened since the first invitations: new links, and the providers' results."""
    replaced = sum(facts.issued for facts in counts.accounts.values()) - counts.sessions
    found = [counted(replaced, "new link")] if replaced > 0 else []
    return ", ".join(found + [f"{number:,} {result}" for result, number in sorted(counts.results.items())])


class _Watch:
    """Reports the progress of batches that have not ended."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._next = self._recount_at = 0.0
        self._over: set[int] = set()
        self._shown: dict[int, str] = {}

    def look(self) -> str:
        """A line for each batch with progress since the last look; "" without progress, or if it is not time yet."""
        began = monotonic()
        if began < self._next:
            return ""
        if began >= self._recount_at:
            self._over.clear()
            self._recount_at = began + LOOK_AGAIN_SECONDS
        lines = [line for batch in reversed(self._parts.batches.all()) if (line := self._line(batch))]
        self._next = began + max(LOOK_SECONDS, (monotonic() - began) / LOOK_SHARE)
        return "\n".join(lines)

    def _line(self, batch: BatchFacts) -> str:
        if batch.id in self._over or batch.purged_at is not None:
            return ""
        counts = self._parts.facts.counts(batch.id)
        state = state_of(batch, counts)
        if state in OVER:
            self._over.add(batch.id)
        on_click = buys_on_click(self._parts.settings)
        progress = line_of(counts, since_the_invitation(counts), on_click=on_click)
        line = f"batch {batch.id}, {batch.name}: {state.value}, {progress}"
        # A batch that had ended before this look is not reported.
        if not counts.jobs or self._shown.get(batch.id, line if state in OVER else "") == line:
            return ""
        self._shown[batch.id] = line
        return line
