"""The configuration and the parts for a command, or why the command cannot start."""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click
import sqlalchemy as sa

from onboarding_worker.cli.exits import CannotStart, refusing
from onboarding_worker.core.database import schema
from onboarding_worker.core.database.audit_entries import Act, note_alone
from onboarding_worker.core.database.database import Database, is_there
from onboarding_worker.core.database.outages import reason
from onboarding_worker.core.database.schema import NotReady
from onboarding_worker.core.foundation.features import Hook
from onboarding_worker.core.foundation.keyring import CannotDecrypt, new_key
from onboarding_worker.providers.contract import doubtful_parameters, shared_webhook_keys
from onboarding_worker.settings.load import load
from onboarding_worker.settings.model import Database as SettingsDatabase
from onboarding_worker.settings.model import Encryption, Settings
from onboarding_worker.settings.needs import ENCRYPTING, WAKING, Need, Needs
from onboarding_worker.settings.problems import SettingsError
from onboarding_worker.settings.secrets import Secret
from onboarding_worker.wiring.container import Parts
from onboarding_worker.wiring.opening import check_keys, check_ready

if TYPE_CHECKING:
    from onboarding_worker.runtime.wakeups import WakeUps

NAMED = 3  # accounts
_OF_AN_ACCOUNT = re.compile(r'(accounts\.(?:[\w-]+|"[^"]*")([^:]*)): (.+)', re.DOTALL)


def said_once(warnings: Iterable[str]) -> list[str]:
    """The warnings in their order; those that differ in the account alone are one."""
    found: dict[tuple[str, str], list[str]] = {}
    for warning in warnings:
        match = _OF_AN_ACCOUNT.fullmatch(warning)
        place, key, what = match.groups() if match is not None else ("", "", warning)
        found.setdefault((key, what), []).append(place)
    return [f"{_listed(places)}: {what}" if places[0] else what for (_, what), places in found.items()]


def _listed(places: list[str]) -> str:
    more = f" and {len(places) - NAMED:,} more" if len(places) > NAMED else ""
    return f"{', '.join(places[:NAMED])}{more}"


# Called at the end of each command that had the parts and their keys; raises nothing. The feature `audit` seals what
# the command has added to the log.
AFTER_COMMANDS: Hook[Callable[[Parts], None]] = Hook("AFTER_COMMANDS")


def settings_of(config: Path | None, needs: Needs, *, logs_warnings: bool) -> Settings:
    """The configuration. Raises CannotStart with a line for each problem. Warnings go to standard error, but not those
    of a command about what is stored alone: `check`, and whatever imports or works, have said them. `logs_warnings`: as
    `Invocation.settings` says."""
    with refusing(SettingsError):
        settings = load(config, needs=needs)
    if needs and needs <= ENCRYPTING | WAKING:
        return settings
    odd = [*(() if logs_warnings else settings.warnings), *doubtful_parameters(settings.accounts)]
    credentials = [secret for one in settings.accounts.values() for secret in (one.api_key, one.customer_id) if secret]
    if not any(secret.is_missing for secret in credentials):  # else accounts of one customer would seem to be of two
        with suppress(SettingsError):  # a webhook's key is missing: the command does not need it
            odd += shared_webhook_keys(settings.accounts)
    for warning in said_once(odd):
        click.echo(f"warning: {warning}", err=True)
    return settings


def wake_ups_of(settings: Settings) -> "WakeUps":
    """What sends wake-ups to the workers of this configuration."""
    from onboarding_worker.runtime.wakeups import WakeUps  # imported here: kombu, which few commands need

    return WakeUps(settings)


@contextmanager
def refusing_what_fails() -> Iterator[None]:
    """Raises CannotStart where the database cannot be used, or what it holds cannot be decrypted; and for a value that
    the command did not declare as needed."""
    try:
        with refusing(SettingsError):
            yield
    except CannotDecrypt as error:  # its text names a row and a key's id
        raise CannotStart(f"encryption.keys: {error}") from None
    except sa.exc.DatabaseError as error:
        # SQLite raises a plain DatabaseError for a file that is not a database; the other kinds are bugs.
        if type(error) not in (sa.exc.OperationalError, sa.exc.DatabaseError):
            raise
        raise CannotStart(why_unusable(error)) from None


def why_unusable(error: sa.exc.DatabaseError) -> str:
    """The database's error for people, and what to do if that is known."""
    return f"the database cannot be used: {reason(error)}"


def why_not_ready(database: Database) -> str:
    """What the operator must do before this release can use the database; "" if the database is ready."""
    try:
        check_ready(database)
    except NotReady as error:
        return str(error)
    return ""


@contextmanager
def with_what_is_there(settings: Settings) -> Iterator[Settings]:
    """The settings for a command that reads what is stored, and does as well without it. An empty database replaces one
    that is not there. Nothing is written beside the configuration."""
    if not settings.database.lacks("url") and is_there(settings.database.url):
        yield settings
        return
    try:
        kept = TemporaryDirectory()
    except OSError as error:
        raise CannotStart(f"an empty database cannot be made for reading: {error.strerror}; set TMPDIR") from None
    with kept as directory:
        empty = SettingsDatabase(url=f"sqlite:///{directory}/empty.db")
        with closing(Database(empty.url)) as made:
            schema.make_unmigrated(made)
        # A journal is of the database that is not there.
        yield settings.model_copy(update={"database": empty, "privacy": type(settings.privacy)()})


@contextmanager
def parts_of(given: Settings, act: Act, needs: Needs, *, migrate: bool, or_empty: bool) -> Iterator[Parts]:
    """As `Invocation.parts` says. `act`: what the audit log says of the command."""
    with ExitStack() as exits:
        settings = exits.enter_context(with_what_is_there(given)) if or_empty else given
        # One that the command needs is not missing: else the settings had not been read.
        knows_keys = not any(key.is_missing for key in (*settings.encryption.keys, *settings.encryption.digest_key))
        if not knows_keys:  # a new key decrypts nothing that is stored
            settings = settings.model_copy(update={"encryption": Encryption(keys=(Secret(new_key()),))})
        with refusing(SettingsError, ValueError):
            parts = Parts(settings, act=act)
        parts.knows_keys = parts.facts.checks_verdicts = knows_keys
        exits.enter_context(closing(parts))
        exits.enter_context(refusing_what_fails())
        not_ready = why_not_ready(parts.database)
        if not_ready and parts.database.is_sqlite and migrate:
            with suppress(schema.NotMigrated):  # a revision that this release does not know: reported below
                schema.upgrade(parts.database)
                note_alone(parts.database, f"schema {schema.newest()}", now=parts.clock(), reason="upgraded")
            not_ready = why_not_ready(parts.database)
        if not_ready:
            raise CannotStart(not_ready)
        parts.ready()
        if Need.ENCRYPTING in needs:
            check_keys(parts.database, parts.keyring)
        try:
            yield parts
        finally:
            if knows_keys:
                for end in AFTER_COMMANDS.offered():
                    end(parts)
