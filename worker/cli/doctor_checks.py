"""The checks of `onboard doctor`. Each looks at one part of the installation; none changes or costs anything."""

import asyncio
import os
import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from worker.cli.online import NOT_ASKED, WORKS, ask
from worker.cli.opening import why_not_ready
from worker.domain.model.findings import Finding, failure, ok, warning
from worker.domain.model.operation import NO_PROCESS, WORK
from worker.engine.adapters import doubtful_templates
from worker.engine.container import Parts
from worker.engine.key_check import check_keys
from worker.foundation import event_loop
from worker.foundation.plural import counted
from worker.foundation.tls import Tls, in_words
from worker.settings import SettingsError
from worker.settings.destinations import Destination, destinations
from worker.store.base import schema

LITTLE_SPACE, NO_SPACE = 1 << 30, 100 << 20  # bytes
CLOCK_MAY_DIFFER = timedelta(seconds=2)
CONNECT_SECONDS = 5

Check = Callable[[Parts], Iterator[Finding]]


def check_database(parts: Parts, *, is_there: bool) -> Iterator[Finding]:
    where = _where(parts, "database") or "SQLite"
    if not is_there:
        yield warning("database", f"{where}: there is none yet", "the first command that needs it makes it")
        return
    why = why_not_ready(parts.database)
    if why:
        action = "" if "run `" in why else "check [database] url, and whether the server runs"
        yield failure("database", f"{where}: {why}", action)
    else:
        yield ok("database", f"{where}, revision {schema.newest()}")


def check_encryption_keys(parts: Parts) -> Iterator[Finding]:
    try:
        check_keys(parts.database, parts.keyring)
    except SettingsError as error:
        yield failure("keys", "; ".join(error.problems), "docs/keys.md")
    else:
        yield ok("keys", "they open what the database holds")


def check_clock(parts: Parts) -> Iterator[Finding]:
    """This machine's clock against the database's."""
    if parts.database.is_sqlite:
        return
    apart = abs(parts.clock() - parts.database.now())
    words = f"{apart.total_seconds():.1f} s apart from the database's"
    if apart > CLOCK_MAY_DIFFER:
        yield warning("clock", words, "let both machines take their time from a time server (NTP)")
    else:
        yield ok("clock", words)


def check_disk(parts: Parts) -> Iterator[Finding]:
    """The space where a SQLite database is, or else where the command runs and its log files are."""
    file = sa.make_url(parts.settings.database.url).database if parts.database.is_sqlite else None
    folder = Path(file).resolve().parent if file else Path.cwd()
    free = shutil.disk_usage(folder).free
    words = f"{free / (1 << 30):,.1f} GB free"
    if free < NO_SPACE:
        yield failure("disk", words, "make space: nothing can be written soon, and the work stops")
    elif free < LITTLE_SPACE:
        yield warning("disk", words, "make space")
    elif not os.access(folder, os.W_OK):
        yield failure("disk", "its folder cannot be written to", "give this user the right to write there")
    else:
        yield ok("disk", words)


def check_brokers(parts: Parts) -> Iterator[Finding]:
    from worker.brokers.connection import BrokerConnection  # imported here: kombu takes a tenth of a second

    settings = parts.settings
    asked: list[tuple[str, str, Tls | None]] = [("broker", settings.broker.url, settings.broker.protection)]
    if settings.bus is not None:
        asked.append(("bus", settings.bus.url, settings.bus.protection))
    for name, url, tls in asked:
        where = _where(parts, name)
        if not where:
            yield ok(name, "none: one process does all work (`onboard run` or `onboard up`)")
            continue
        connect: Any = BrokerConnection  # kombu has no types
        connection = connect(url, ssl=tls, connect_timeout=CONNECT_SECONDS)
        try:
            connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0, timeout=CONNECT_SECONDS)
        except Exception as error:  # each transport has its own exceptions, and their texts may hold the URL
            refused = any(word in type(error).__name__ for word in ("AccessRefused", "Authentication"))
            words = "it refuses the user or the password" if refused else in_words(error) or type(error).__name__
            yield failure(name, f"{where}: {words}", f"check [{name}] url, and whether the server runs")
        else:
            yield ok(name, f"{where} answers")
        finally:
            connection.release()


def check_accounts_and_senders(parts: Parts) -> Iterator[Finding]:
    """Logs in to each, with calls that send nothing and cost nothing."""
    answers = event_loop.run(ask(parts, parts.accounts, parts.channels))
    for name, answer in answers.items():
        section = name if name in parts.channels else f"accounts.{name}"
        where = _where(parts, section)
        words = answer if where in answer else f"{where}: {answer}"
        if answer in (WORKS, NOT_ASKED):
            yield ok(section, words)
        else:
            yield failure(section, words, f"check the address and the credentials in [{section}], and the way there")


def check_templates(parts: Parts) -> Iterator[Finding]:
    problems, doubts = parts.templates.problems(), doubtful_templates(parts.settings, parts.templates)
    for problem in problems:
        yield failure("templates", problem, "`onboard template preview` shows the messages")
    for doubt in doubts:
        yield warning("templates", doubt, "`onboard template preview` shows the messages")
    if not problems and not doubts:
        yield ok("templates", "all can be rendered")


def check_web(parts: Parts) -> Iterator[Finding]:
    """Whether `onboard web` or `onboard up` listens where it is configured to."""
    web = parts.settings.web
    host, _, port = web.bind.rpartition(":")
    host = {"0.0.0.0": "127.0.0.1", "[::]": "::1"}.get(host, host.strip("[]"))  # noqa: S104 -- compared, not bound

    async def connect() -> None:
        async with asyncio.timeout(CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(host, int(port))
            writer.close()

    try:
        event_loop.run(connect())
    except OSError:
        needed = bool(web.posting) or any(
            account.webhook_keys or account.jwt_key or account.webhook_secret for account in parts.accounts.values()
        )
        if needed:
            yield warning("web", f"nothing listens at {web.bind}", "start `onboard web`, or `onboard up`")
    else:
        yield ok("web", f"{web.bind} listens")


def check_processes(parts: Parts) -> Iterator[Finding]:
    whole = parts.operation.report()
    working = sum(one.kind in WORK for one in whole.running)
    if not working and whole.due:
        yield warning("processes", NO_PROCESS, "start `onboard worker` and `onboard beat`, or `onboard up`")
    else:
        yield ok(
            "processes", f"{counted(working, 'process', 'processes')} at work" if working else "none; nothing is due"
        )
    for one in whole.attention:
        yield warning("attention", f"{one.name}: {one.reason}" if one.name else one.reason, f"`{one.command}`")


# In the order in which one needs the other.
WITHOUT_DATABASE: tuple[Check, ...] = (
    check_disk,
    check_brokers,
    check_accounts_and_senders,
    check_templates,
    check_web,
)
WITH_DATABASE: tuple[Check, ...] = (check_encryption_keys, check_clock, check_processes)


def _where(parts: Parts, section: str) -> str:
    """HOST:PORT of a section; "" if it is on no network."""
    found: list[Destination] = [one for one in destinations(parts.settings) if one.section == section]
    return ", ".join(f"{one.host}:{one.port}" for one in found)
