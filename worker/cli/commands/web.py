"""`onboard web`: webhooks and events over HTTP."""

from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from secrets import token_urlsafe

import click

from worker.cli.exits import CannotStart, refusing
from worker.cli.invocation import Invocation, log_info
from worker.cli.opening import refusing_what_fails, wake_ups_of
from worker.core.database import schema
from worker.core.foundation.tls import is_loopback
from worker.http import event_loop
from worker.runtime.celery_settings import why_not_with_workers
from worker.runtime.web_application import ROUTES, app, no_wake_up
from worker.settings.addresses import bind_address
from worker.settings.model import Settings
from worker.settings.needs import SERVING
from worker.settings.problems import SettingsError
from worker.settings.rules import has_credentials, no_credentials
from worker.web.server import serve
from worker.web.webhooks.sources import Closed, account_sources
from worker.wiring.container import Parts


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
    settings = invocation.settings(SERVING)
    host, port = address(settings, bind)

    key = key_to_look(host)

    def started(port: int) -> None:
        show_address(settings, host, port, key)

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
    known = has_credentials(vars(settings), settings.accounts.values())
    if not is_loopback(host) and not known:
        raise CannotStart(f"--bind: {no_credentials()}")
    return host, port


def key_to_look(host: str) -> str:
    """Opens pages that are only for looking, where only this machine can ask; else ""."""
    return token_urlsafe(16) if is_loopback(host) else ""


def show_address(settings: Settings, host: str, port: int, key: str) -> None:
    """Say where the process listens. `key`: as `key_to_look` has made it."""
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    click.echo(f"listening on {address}", err=True)
    for told in (routes.told(settings, address, key) for routes in ROUTES.offered() if key):
        if told:
            click.echo(told, err=True)
