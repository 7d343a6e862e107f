"""`onboard db`: the database's schema."""

import click
import sqlalchemy as sa
from alembic.util import CommandError

from worker.cli.exits import CannotStart
from worker.cli.invocation import Invocation, act_of_command
from worker.cli.opening import why_not_ready
from worker.domain.model.needs import Need
from worker.foundation.clock import ProcessClock
from worker.store.audit.entries import note_alone
from worker.store.base import schema
from worker.store.base.database import Database, reason


@click.group()
def db() -> None:
    """Upgrade the database's schema."""


@db.command()
@click.pass_obj
def upgrade(invocation: Invocation) -> None:
    """Upgrade the database to this release's schema. A second upgrade changes nothing. Workers may run meanwhile.

    Workers of an earlier release write the results of their calls in flight, claim no more rows, and wait to be
    replaced.
    """
    section = invocation.settings(frozenset({Need.DATABASE})).database
    database = Database(section.url, tls=section.protection, act=act_of_command())
    try:
        before = schema.current(database)
        schema.upgrade(database)
        if before != schema.newest():
            note_alone(database, f"schema {schema.newest()}", now=ProcessClock()(), reason="upgraded")
    except CommandError:
        raise CannotStart(why_not_ready(database) or "the database cannot be upgraded") from None
    except schema.TableInUse as error:
        raise CannotStart(str(error)) from None
    except sa.exc.OperationalError as error:
        raise CannotStart(f"the database cannot be reached: {reason(error)}") from None
    finally:
        database.close()
    after = schema.newest()
    click.echo(f"the database is at revision {after}" + ("" if before == after else f" (was {before or 'empty'})"))
