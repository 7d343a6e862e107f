"""`onboard db`: the database's schema, the rights of its roles, and its copy in PostgreSQL."""

import os
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial

import click
import sqlalchemy as sa

from onboarding_worker.cli.exits import CannotStart, refusing
from onboarding_worker.cli.invocation import Invocation, act_of_command
from onboarding_worker.cli.opening import refusing_what_fails, why_not_ready
from onboarding_worker.cli.shared_options import counting
from onboarding_worker.core.database import schema
from onboarding_worker.core.database.audit_entries import note_alone
from onboarding_worker.core.database.database import Database, is_there
from onboarding_worker.core.foundation.clock import ProcessClock
from onboarding_worker.core.foundation.keyring import Keyring
from onboarding_worker.core.foundation.notation import counted
from onboarding_worker.lists.decisions.store.emergency_stop import EmergencyStops
from onboarding_worker.reporting.store.processes import Processes
from onboarding_worker.settings.load import load
from onboarding_worker.settings.model import Database as SettingsDatabase
from onboarding_worker.settings.needs import COUNTED, STORED, Need
from onboarding_worker.settings.problems import SettingsError
from onboarding_worker.wiring.opening import check_keys
from onboarding_worker.wiring.os_user import os_user
from onboarding_worker.wiring.store import database_copy, roles

OVERRIDE = "ONBOARDING__DATABASE__URL"


@click.group()
def db() -> None:
    """Upgrade the database's schema, give its users their rights, copy it to PostgreSQL."""


@db.command()
@click.pass_obj
def upgrade(invocation: Invocation) -> None:
    """Upgrade the database to this release's schema. A second upgrade changes nothing. Workers may run meanwhile.

    Workers of an earlier release write the results of their calls in flight, claim no more rows, and wait to be
    replaced.
    """
    with _database(invocation) as database, refusing(schema.TableInUse):
        try:
            before = schema.current(database)
            schema.upgrade(database)
            if before != schema.newest():
                note_alone(database, f"schema {schema.newest()}", now=ProcessClock()(), reason="upgraded")
        except schema.NotMigrated:
            raise CannotStart(why_not_ready(database) or "the database cannot be upgraded") from None
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
        if not_ready := why_not_ready(database):
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


@db.command()
@click.option(
    "--to",
    required=True,
    metavar="URL",
    help="The database to fill: postgresql+psycopg://USER@HOST/DATABASE, or env:NAME for the variable that holds it."
    " It is new, or has an empty schema of this release.",
)
@click.option("--afresh", is_flag=True, help="Remove what an earlier copy has left in it, and begin again.")
@click.pass_obj
def copy(invocation: Invocation, to: str, afresh: bool) -> None:
    """Copy this SQLite database into a PostgreSQL database, compare both, and leave both stopped.

    First end all processes. Everything stays stopped here, so that no session is bought and no message sent twice. If
    the command is killed, run it again: it goes on. Until all rows are found equal, no process can use the new
    database. Encrypted values stay as they are, so the keys do too.

    \b
    export NEW_DATABASE='postgresql+psycopg://onboarding:PASSWORD@db1/onboarding'
    onboard db copy --to env:NEW_DATABASE
    then name it as url in [database], look at `onboard status`, and go on with `onboard resume --all`
    """
    settings = invocation.settings(STORED)
    new = _section_of(invocation, to)
    if settings.database.sqlite_file is None:
        raise CannotStart("this database is not SQLite: copy it with pg_dump (docs/how-to/backup.md)")
    if new.sqlite_file is not None:
        raise CannotStart("--to: names a SQLite file: copy that with `sqlite3` (docs/how-to/backup.md)")
    if not is_there(settings.database.url):
        raise CannotStart(f"{settings.database.sqlite_file}: no such file; without it there is nothing to copy")
    source = Database(settings.database.url, act=act_of_command())
    target = Database(new.url, tls=new.protection, act=act_of_command())
    refused = refusing(database_copy.CannotCopy, schema.NotMigrated, schema.TableInUse)
    with closing(source), closing(target), refusing_what_fails(), refused:
        _copy(source, target, settings.encryption.keyring(), afresh=afresh)


def _copy(source: Database, target: Database, keyring: Keyring, *, afresh: bool) -> None:
    clock = ProcessClock()
    url = target.engine.url
    place = f"{url.host or 'this machine'}/{url.database}"
    if not_ready := why_not_ready(source):
        raise CannotStart(not_ready)
    if database_copy.is_whole(source, target):
        click.echo(f"the copy in {place} is whole already; {_THEN}")
        return
    check_keys(source, keyring)
    _check_unworked({"here": source}, clock)
    total = database_copy.rows_of(source)
    database_copy.prepare(target)
    database_copy.stop_source(source, by=os_user().name, place=place, now=clock())
    tables = database_copy.copy(
        source,
        target,
        afresh=afresh,
        check=partial(_check_unworked, {"here": source, "on --to": target}, clock),
        copied=counting(lambda rows: f"{rows:,} of {total:,} rows copied"),
        compared=counting(lambda rows: f"{rows:,} of {total:,} rows compared"),
    )
    rows = sum(table.rows for table in tables)
    click.echo(f"copied {rows:,} rows of {len(tables)} tables to {place}: counts and digests of both are equal")
    click.echo(_THEN)


def _check_unworked(databases: Mapping[str, Database], clock: ProcessClock) -> None:
    """Raise CannotStart while a process works on one of them, or its call may be in flight."""
    for which, database in databases.items():
        if running := Processes(database).running(now=clock()):
            named = ", ".join(f"{one.kind} (process {one.pid} on {one.host})" for one in running)
            raise CannotStart(f"processes work {which}: {named}; end them, and run this again")
        if calls := sum(EmergencyStops(database).in_flight(now=clock()).values()):
            what = counted(calls, "call of a killed process", "calls of killed processes")
            raise CannotStart(f"{what} may be in flight until the leases end: run this again in a minute")


_THEN = "both are stopped: name the new one as url in [database], look at `onboard status`, then `onboard resume --all`"


def _section_of(invocation: Invocation, to: str) -> SettingsDatabase:
    """[database] as it will be, under the same rules. Raises CannotStart."""
    name = to.removeprefix("env:")
    url = os.environ.get(name, "") if name != to else to
    if not url:
        raise CannotStart(f"--to: the variable {name} has no value")
    try:
        new = load(invocation.config, environ={**os.environ, OVERRIDE: url}, needs=COUNTED).database
    except SettingsError as error:
        raise CannotStart(str(error).replace(OVERRIDE, "--to")) from None
    if name == to and sa.make_url(url).password:
        click.echo("warning: a password in a command stands in the shell's history: give --to env:NAME", err=True)
    return new


@contextmanager
def _database(invocation: Invocation) -> Iterator[Database]:
    """The configuration's database, whatever its schema. Raises CannotStart where it cannot be used."""
    section = invocation.settings(frozenset({Need.DATABASE})).database
    database = Database(section.url, tls=section.protection, act=act_of_command())
    with closing(database), refusing_what_fails():
        yield database
