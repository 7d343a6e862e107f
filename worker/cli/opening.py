"""The configuration and the parts for a command, or why the command cannot start."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click
import sqlalchemy as sa
from alembic.util import CommandError

from worker.cli.exits import CannotStart
from worker.engine.container import Parts
from worker.foundation.keyring import CannotDecrypt
from worker.providers.registry import shared_webhook_keys
from worker.settings import Settings, SettingsError, load
from worker.store.base import schema
from worker.store.base.database import reason

if TYPE_CHECKING:
    from worker.runtime.wakeups import WakeUps


def settings_of(config: Path | None) -> Settings:
    """The configuration. Raises CannotStart with a line for each problem; warnings go to standard error."""
    try:
        settings = load(config)
    except SettingsError as error:
        raise CannotStart(str(error)) from None
    odd = [*settings.warnings, *shared_webhook_keys(settings.accounts), *_not_applied(settings)]
    for warning in odd:
        click.echo(f"warning: {warning}", err=True)
    return settings


def _not_applied(settings: Settings) -> list[str]:
    """A warning for each setting that this release does not apply."""
    asked = {
        "links.mode": settings.links.mode != "provider",
    }
    return [f"{key}: this release does not apply it yet" for key, is_asked in asked.items() if is_asked]


def wake_ups_of(settings: Settings) -> "WakeUps":
    """What sends wake-ups to the workers of this configuration."""
    from worker.runtime.wakeups import WakeUps  # imported here: kombu, which few commands need

    return WakeUps(settings)


# SQLite's error messages about its file, and what to do.
HINTS = {
    "unable to open database file": "its directory must exist and be writable, because SQLite keeps other files in it",
    "attempt to write a readonly database": "the file and its directory must be writable",
    "database or disk is full": "its disk is full",
    "file is not a database": "database.url names a file that is not a SQLite database, or a damaged one",
}


def does_not_answer(error: sa.exc.DatabaseError) -> str:
    """The database's error for people, and what to do if that is known."""
    why = reason(error)
    hint = f" (database.url: {HINTS[why]})" if why in HINTS else ""
    return f"the database cannot be used: {why}{hint}"


@contextmanager
def parts_of(settings: Settings, *, migrate: bool) -> Iterator[Parts]:
    """As `Invocation.parts` says."""
    try:
        parts = Parts(settings)
    except (SettingsError, ValueError) as error:
        raise CannotStart(str(error)) from None
    try:
        not_ready = schema.why_not_ready(parts.database)
        if not_ready and parts.database.is_sqlite and migrate:
            with suppress(CommandError):  # a revision that this release does not know: reported below
                schema.upgrade(parts.database)
            not_ready = schema.why_not_ready(parts.database)
        if not_ready:
            raise CannotStart(not_ready)
        parts.ready()
        yield parts
    except CannotDecrypt:
        raise CannotStart(
            "encryption.keys: none of them decrypts the data in this database; add the key that encrypted it"
        ) from None
    except sa.exc.DatabaseError as error:
        # SQLite raises a plain DatabaseError for a file that is not a database; the other kinds are bugs.
        if type(error) not in (sa.exc.OperationalError, sa.exc.DatabaseError):
            raise
        raise CannotStart(does_not_answer(error)) from None
    finally:
        parts.close()
