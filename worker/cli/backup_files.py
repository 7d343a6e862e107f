"""The files of `onboard backup`: made as a whole or not at all, and checked before they are restored."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import TextIO

import sqlalchemy as sa

from worker.cli.exits import CannotStart, Stopped
from worker.cli.invocation import act_of_command
from worker.cli.opening import why_unusable
from worker.foundation.keyring import Keyring
from worker.foundation.plural import counted
from worker.foundation.private_files import take_free_place
from worker.settings import Settings
from worker.store.backup import restoring
from worker.store.backup.customer_key_file import DamagedKeys, read_header
from worker.store.backup.data_copy import CannotCopy
from worker.store.backup.manifest import Manifest
from worker.store.base.database import Database


@contextmanager
def new_folder(out: Path) -> Iterator[None]:
    """A directory that was not there, for its owner only. Removed again if the backup fails."""
    try:
        out.mkdir(mode=0o700)
    except FileExistsError:
        raise CannotStart(f"--out: {out} exists; name another directory") from None
    except OSError as error:
        raise CannotStart(f"--out: {out}: {error.strerror}") from None
    try:
        yield
    except BaseException:
        shutil.rmtree(out, ignore_errors=True)
        raise


@contextmanager
def saying_what_failed(out: Path) -> Iterator[None]:
    try:
        yield
    except CannotCopy as error:
        raise Stopped(f"the data cannot be copied: {error}; {out} was removed again") from None
    except sa.exc.OperationalError as error:
        raise Stopped(f"{why_unusable(error)}; {out} was removed again") from None
    except OSError as error:
        raise Stopped(f"{error.strerror or error}; {out} was removed again") from None


@contextmanager
def key_file(path: Path | None, manifest: Manifest, keyring: Keyring) -> Iterator[TextIO | None]:
    """The file of customers' keys, found to be whole and to fit; None: none is given, and none is needed."""
    needed = manifest.encrypted_by[0]
    if path is None:
        if manifest.customer_keys:
            raise CannotStart(f"--keys: the data needs {counted(manifest.customer_keys, 'key')} of customers")
        _must_have(keyring, needed)
        yield None
        return
    try:
        with path.open(encoding="utf-8") as stream:
            header = read_header(stream)
            if header["at"] < manifest.at:
                lacks = "it lacks newer customers' keys, erasures and suppressed addresses"
                raise CannotStart(f"--keys: {path} is older than the data: {lacks}")
            if manifest.customer_keys:
                needed = header["encrypted_by"][0]
            _must_have(keyring, needed)
            yield stream
    except DamagedKeys as error:
        raise CannotStart(f"--keys: {path}: {error}") from None
    except OSError as error:
        raise CannotStart(f"--keys: {path}: {error.strerror}") from None


def _must_have(keyring: Keyring, key_id: str) -> None:
    if key_id not in keyring.ids:
        raise CannotStart(f"encryption.keys: the backup needs the key {key_id}, which is not in this configuration")


@contextmanager
def target(settings: Settings, folder: Path) -> Iterator[Database]:
    """The database to restore into. A SQLite file takes its place at the end, so that there is never half of one."""
    url, part, file = settings.database.url, None, None
    if url.startswith("sqlite"):
        file = Path(sa.make_url(url).database or "")
        _must_be_free(file)
        part = file.with_name(f".onboard-{token_hex(16)}.db")
        url = sa.make_url(url).set(database=str(part)).render_as_string(hide_password=False)
    try:
        if part is not None:
            restoring.put_sqlite_in_place(folder, part)
        database = Database(url, tls=settings.database.protection, act=act_of_command())
        try:
            if part is None and restoring.has_rows(database):
                raise CannotStart("the database holds rows already: restore into an empty one")
            yield database
            database.forget_erased()
        finally:
            database.close()
        if part is not None and file is not None:
            _must_be_free(file)  # a process may have been started meanwhile
            take_free_place(part, file)
    except sa.exc.OperationalError as error:
        raise Stopped(why_unusable(error)) from None
    except OSError as error:
        raise Stopped(f"{error.strerror or error}; nothing was restored") from None
    finally:
        if part is not None:
            for one in _files_of(part):
                with suppress(FileNotFoundError):
                    one.unlink()


def _files_of(database: Path) -> list[Path]:
    """A SQLite database, and what a process that ended in the middle of its work leaves next to it."""
    return [database.with_name(database.name + end) for end in ("", "-wal", "-shm", "-journal")]


def _must_be_free(file: Path) -> None:
    # SQLite would write what an old log holds into the restored database.
    if found := [str(one) for one in _files_of(file) if os.path.lexists(one)]:
        what = f"{found[0]} exists: move it" if len(found) == 1 else f"{', '.join(found)} exist: move them"
        raise CannotStart(f"database.url: {what} away first, nothing was restored")
