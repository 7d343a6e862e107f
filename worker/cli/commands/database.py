"""`onboard db`: the database's schema, and the rights of its roles."""

from collections.abc import Iterator
from contextlib import contextmanager

import click
import sqlalchemy as sa

from worker.cli.exits import CannotStart
from worker.cli.invocation import Invocation, act_of_command
from worker.cli.opening import why_not_ready, why_unusable
from worker.core.database import schema
from worker.core.database.audit_entries import note_alone
from worker.core.database.database import Database
from worker.core.foundation.clock import ProcessClock
from worker.settings.needs import Need
from worker.wiring.store import roles


@click.group()
def db() -> None:
    """Upgrade the database's schema, and give its users their rights."""


@db.command()
@click.pass_obj
def upgrade(invocation: Invocation) -> None:
    """Upgrade the database to this release's schema. A second upgrade changes nothing. Workers may run meanwhile.

    Workers of an earlier release write the results of their calls in flight, claim no more rows, and wait to be
    replaced.
    """
    with _database(invocation) as database:
        try:
            before = schema.current(database)
            schema.upgrade(database)
            if before != schema.newest():
                note_alone(database, f"schema {schema.newest()}", now=ProcessClock()(), reason="upgraded")
        except schema.NotMigrated:
            raise CannotStart(why_not_ready(database) or "the database cannot be upgraded") from None
        except schema.TableInUse as error:
            raise CannotStart(str(error)) from None
    after = schema.newest()
    click.echo(f"the database is at revision {after}" + ("" if before == after else f" (was {before or 'empty'})"))


@db.command()
@click.option("--run", metavar="ROLE", help="The role of worker, beat, bus, web and of the commands that decide.")
@click.option("--report", metavar="ROLE", help="The role that only reads, and nothing that is encrypted.")
@click.option(
    "--remove-audit",
    is_flag=True,
    help="The role of --run may remove old entries of the audit log: for [retention] audit.",
)
@click.pass_obj
def grant(invocation: Invocation, run: str | None, report: str | None, remove_audit: bool) -> None:
    """Give the roles of PostgreSQL their rights on this release's tables, and take all others from them.

    Run it as the role that owns the tables, after each `onboard db upgrade`. The role of --run may read and write every
    row, and may not change the schema; in the audit log it may only add and seal entries. The role of --report may read
    every column that is neither encrypted nor a hash. docs/how-to/deployment.md has the SQL that makes the roles.
    """
    if not run and not report:
        raise click.UsageError("give --run ROLE or --report ROLE, or both")
    if remove_audit and not run:
        raise click.UsageError("--remove-audit is a right of the role of --run")
    with _database(invocation) as database:
        if database.is_sqlite:
            raise CannotStart("SQLite has no roles: who may read its file may read everything")
        not_ready = why_not_ready(database)
        if not_ready:
            raise CannotStart(not_ready)
        try:
            roles.grant(database, run=run, report=report, removes_audit=remove_audit)
        except roles.NoSuchRole as error:
            hint = "CREATE ROLE makes one (docs/how-to/deployment.md)"
            raise CannotStart(f"the server has no role {error}: {hint}") from None
        given = [f"{role} may {what}" for role, what in ((run, "run"), (report, "report")) if role]
        note_alone(database, "roles", now=ProcessClock()(), count=len(given), reason=", ".join(given))
    for line in given:
        click.echo(line)


@contextmanager
def _database(invocation: Invocation) -> Iterator[Database]:
    """The configuration's database, whatever its schema. Raises CannotStart where it cannot be used."""
    section = invocation.settings(frozenset({Need.DATABASE})).database
    database = Database(section.url, tls=section.protection, act=act_of_command())
    try:
        yield database
    except sa.exc.OperationalError as error:
        raise CannotStart(why_unusable(error)) from None
    finally:
        database.close()
