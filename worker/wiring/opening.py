"""Opens the parts on a database that can be used, or says why it cannot be used."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from worker.core.database import schema
from worker.core.database.database import Database
from worker.core.database.outages import reason
from worker.core.foundation import event_loop
from worker.settings.model import Settings
from worker.wiring.container import Parts
from worker.wiring.key_check import check_keys


def check_ready(database: Database) -> None:
    """Raises NotReady."""
    try:
        not_ready = schema.why_not_ready(database)
        if not_ready:
            raise (schema.Outdated if schema.outdated(database) else schema.NotReady)(not_ready)
    except sa.exc.OperationalError as error:
        raise _unreachable(error) from None


def _unreachable(error: sa.exc.OperationalError) -> schema.NotReady:
    return schema.NotReady("the database cannot be used", reason(error))


def check_configuration(settings: Settings) -> None:
    """Raise SettingsError for a configuration, or an aiohttp, that cannot work. Opens no connection."""
    Parts(settings).close()
    from worker.http.connections import check_aiohttp  # imported here: aiohttp, which few commands need

    event_loop.run(check_aiohttp())


@contextmanager
def opened(settings: Settings, *, prepare: Callable[[Parts], None] = Parts.ready) -> Iterator[Parts]:
    """Open the parts on a database that can be used, and close them at the end. Raises NotReady, SettingsError."""
    parts = Parts(settings)
    parts.database.give_up_after(settings.worker.lease / 2)
    try:
        check_ready(parts.database)
        try:
            prepare(parts)
            check_keys(parts.database, parts.keyring)
        except sa.exc.OperationalError as error:
            raise _unreachable(error) from None
        yield parts
    finally:
        parts.close()
