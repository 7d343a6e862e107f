"""`onboard db` and `onboard backup`: the database's schema, and copies of its data."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import sqlalchemy as sa

from worker.cli.backup_files import key_file, new_folder, saying_what_failed, target
from worker.cli.exits import CannotStart, Stopped
from worker.cli.invocation import Invocation, act_of_command
from worker.cli.opening import why_not_ready, why_unusable
from worker.cli.option_types import Named
from worker.cli.shared_options import JSON
from worker.domain.model.needs import STORED, Need
from worker.engine.key_check import check_keys
from worker.engine.keyrings import keyring_of
from worker.foundation.clock import ProcessClock
from worker.foundation.plural import counted
from worker.foundation.private_files import replacing
from worker.settings import SettingsError
from worker.store.audit.entries import note_alone
from worker.store.backup import restoring
from worker.store.backup.data_copy import copy_data
from worker.store.backup.manifest import NoBackup, read
from worker.store.base import grants, schema
from worker.store.base.database import Database

KEYS_FILE = "onboard-customer-keys.jsonl"
FILE = click.Path(dir_okay=False, path_type=Path)
NOT_KNOWN = (
    "without --keys it is not known who was erased since the backup, and who wants no more messages: see to it before"
    " you go on (`onboard customer erase`, `onboard suppress`)"
)


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
            grants.grant(database, run=run, report=report, removes_audit=remove_audit)
        except grants.NoSuchRole as error:
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


@click.group(invoke_without_command=True)
@click.option(
    "--out",
    type=Named(directory=True),
    metavar="DIR",
    help="Write the data to this new directory: it must not be there.",
)
@click.option(
    "--keys",
    type=Named(),
    metavar="FILE",
    help="Write the customers' keys to this file, which replaces the one of the backup before."
    f"  [default: {KEYS_FILE} next to DIR]",
)
@JSON
@click.pass_context
def backup(context: click.Context, /, out: Path | None, keys: Path | None, as_json: bool) -> None:
    """Copy all data of one moment into DIR, while workers run, and the keys of customers into a FILE apart from it.

    Both are readable for their owner only, and encrypted values stay encrypted. Keep DIR for as long as you like, and
    FILE for days: without the key of an erased customer nothing of this customer can be read from any DIR. Keep the
    keys of [encryption] in a third place. docs/how-to/backup.md says what to do, and how to restore.

    \b
    onboard backup --out backups/monday --keys keys/customers.jsonl
    onboard backup restore backups/monday --keys keys/customers.jsonl
    """
    if context.invoked_subcommand is not None:
        return
    if out is None:
        raise click.UsageError("Missing option '--out'.")
    invocation = context.ensure_object(Invocation)
    keys = keys or out.absolute().parent / KEYS_FILE
    if out.resolve() in keys.resolve().parents:
        raise CannotStart("--keys: the file must not be in DIR: with the data, the keys would protect nothing")
    with invocation.parts(STORED, migrate=True) as parts:
        note_alone(parts.database, "all data", now=parts.clock(), reason="copied by a backup")
        with new_folder(out), saying_what_failed(out):
            with replacing(keys) as stream:
                manifest = copy_data(parts.database, out, stream, encrypted_by=parts.keyring.ids, now=parts.clock())
                stream.flush()
                os.fsync(stream.fileno())
            manifest.write(out)
    rows = sum(table.rows for table in manifest.tables.values())
    if as_json:
        facts = {"out": str(out), "keys": str(keys), "rows": rows, "customer_keys": manifest.customer_keys}
        click.echo(json.dumps(facts | {"migration": manifest.migration, "at": manifest.written_at}))
        return
    click.echo(f"{out}: {counted(rows, 'row')}, as of {manifest.written_at}")
    click.echo(f"{keys}: {counted(manifest.customer_keys, 'key')} of customers")
    click.echo("the keys of [encryption] are in neither: keep them apart")


@backup.command()
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--keys", type=FILE, metavar="FILE", help="The newest file of customers' keys.")
@JSON
@click.pass_obj
def restore(invocation: Invocation, folder: Path, keys: Path | None, as_json: bool) -> None:
    """Make the configured database of the backup in DIR. It must be empty, or not be there; end all processes first.

    Customers who were erased since the backup are erased again, and everything is stopped: what was sent since the
    backup is not known to it, and workers would send it again. Look at `onboard status` and at your providers and
    senders, then go on with `onboard resume --all`.
    """
    settings = invocation.settings(STORED)
    try:
        keyring, manifest = keyring_of(settings.encryption), read(folder)
    except (NoBackup, OSError) as error:
        raise CannotStart(f"{folder}: {error}") from None
    except (SettingsError, ValueError) as error:
        raise CannotStart(str(error)) from None
    kind = "sqlite" if settings.database.url.startswith("sqlite") else "postgresql"
    if manifest.database != kind:
        raise CannotStart(f"{folder}: it is a backup of {manifest.database}, and database.url is {kind}")
    if manifest.migration not in schema.known():
        raise CannotStart(f"{folder}: a newer release made it (revision {manifest.migration}): upgrade the worker")
    with key_file(keys, manifest, keyring) as stream, target(settings, folder) as database:
        now = ProcessClock()()
        number, reason, done = restoring.load(database, folder, manifest, stream, now=now)
        try:
            check_keys(database, keyring)
        except SettingsError as error:
            raise Stopped(str(error)) from None
        erased = restoring.erase_again(database, keyring, done, now=now)
    rows = sum(table.rows for table in manifest.tables.values())
    if keys is None:
        click.echo(NOT_KNOWN, err=True)
    if as_json:
        facts = {"rows": rows, "customer_keys": number, "erased_again": erased, "stopped": reason}
        click.echo(json.dumps(facts | {"at": manifest.written_at}))
        return
    click.echo(f"{counted(rows, 'row')} as of {manifest.written_at}, {counted(number, 'key')} of customers")
    if keys is not None:
        click.echo(f"{counted(erased, 'customer')} erased since then: erased again")
    click.echo("everything is stopped: workers would send again what was sent since the backup")
    click.echo("look at `onboard status`, your providers and senders; then `onboard resume --all`")
