"""`onboard db`: the database's schema."""

import click
import sqlalchemy as sa
from alembic.util import CommandError

from worker.cli.exits import CannotStart
from worker.cli.invocation import Invocation
from worker.store.base import schema
from worker.store.base.database import Database, reason


@click.group()
def db() -> None:
    """The database's schema."""


@db.command()
@click.pass_obj
def upgrade(invocation: Invocation) -> None:
    """Bring the database to this release's schema. Doing it twice does nothing; workers may go on meanwhile.

    Workers of an earlier release write what they have in flight, take nothing more, and wait to be replaced.
    """
    database = Database(invocation.settings().database.url)
    try:
        before = schema.current(database)
        schema.upgrade(database)
    except CommandError:
        raise CannotStart(schema.why_not_ready(database) or "the database cannot be upgraded") from None
    except schema.TableInUse as error:
        raise CannotStart(str(error)) from None
    except sa.exc.OperationalError as error:
        raise CannotStart(f"the database cannot be reached: {reason(error)}") from None
    finally:
        database.close()
    after = schema.newest()
    click.echo(f"the database is at revision {after}" + ("" if before == after else f" (was {before or 'empty'})"))
