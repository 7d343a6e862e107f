"""A directory as an operator has it, the commands run in it, and the sandbox that they talk to."""

import asyncio
import contextlib
import csv
import io
import json
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock
from uuid import UUID

import sqlalchemy as sa

from onboarding_sandbox import Entry, Sandbox, SandboxOptions
from onboarding_worker.cli import main
from onboarding_worker.core.database.database import Database
from onboarding_worker.runtime import embedded
from tests.desk.preloaded import Preloaded
from tests.suite.databases import not_synced
from tests.suite.waiting import ENDS_WITHIN

ONBOARD = str(Path(sys.executable).with_name("onboard"))
CELERY = (sys.executable, "-m", "celery", "-A", "onboarding_worker", "--quiet")  # with ONBOARDING_CONFIG
DATABASE = "onboarding.db"  # as `init` names it
# `run` ends at a tick, and a command here has a few rows: its processor time is the same, and it waits less.
TICK = timedelta(milliseconds=50)
_open = Database.__init__
Row = dict[str, str]


@dataclass(frozen=True)
class Ended:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def facts(self) -> Any:
        """The one JSON document that `--json` promises on standard output, and nothing beside it."""
        assert self.out.endswith("\n"), self.err
        assert self.out.count("\n") == 1
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        return self.err.splitlines()

    @property
    def table(self) -> list[dict[str, str]]:
        """Standard output read as CSV."""
        return list(csv.DictReader(io.StringIO(self.out)))


class Played:
    """A sandbox on a loop of its own, so that commands can be called from the test's thread."""

    def __init__(self, **options: Any) -> None:
        self.sandbox = Sandbox(SandboxOptions(**options))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="sandbox", daemon=True)
        self._thread.start()
        self._wait_for(self.sandbox.start())

    def close(self) -> None:
        self._wait_for(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(ENDS_WITHIN)
        self._loop.close()

    async def _stop(self) -> None:
        """Stop, but accept nothing any more before the server closes.

        A connection that is being accepted when the loop ends stays open. It would be an error of whatever test runs
        when it is collected.
        """
        runner: Any = self.sandbox._runner
        servers = [site._server for site in runner.sites] if runner else []
        for server in filter(None, [*servers, self.sandbox.mailbox._server]):
            for listening in server.sockets:
                self._loop.remove_reader(listening)
        for _ in range(3):
            await asyncio.sleep(0)
        await self.sandbox.stop()

    def _wait_for(self, coroutine: Any) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(ENDS_WITHIN)

    def calls(self, endpoint: str = "") -> list[Entry]:
        """The calls that it received, of one endpoint or of all providers."""
        return [
            entry
            for entry in list(self.sandbox.log)
            if entry["endpoint"] != "smtp" and endpoint in ("", entry["endpoint"])
        ]

    @property
    def opened(self) -> Counter[str]:
        """How many sessions it opened for each customer."""
        return Counter(entry["client"] for entry in self.calls() if entry["processed"])

    @property
    def tokens(self) -> set[str]:
        return {entry["token"] for entry in self.calls() if entry["token"]}

    @property
    def message_ids(self) -> dict[str, Counter[str]]:
        """The Message-IDs that each recipient got, with how often."""
        found: dict[str, Counter[str]] = {}
        for mail in list(self.sandbox.mailbox):
            for recipient in mail.recipients:
                found.setdefault(recipient, Counter())[str(mail.message_id)] += 1
        return found


@dataclass
class Desk:
    """A directory with a configuration, and the commands run in it."""

    path: Path
    environ: dict[str, str] = field(default_factory=dict)
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def config(self) -> Path:
        return self.path / "onboarding.toml"

    def change(self, old: str, new: str) -> None:
        text = self.config.read_text("utf-8")
        assert old in text
        self.config.write_text(text.replace(old, new), "utf-8")

    def sql(self, statement: str, *values: object) -> list[Any]:
        """Change or read the database past the worker; returns the rows that are read."""
        with contextlib.closing(sqlite3.connect(self.path / DATABASE)) as database, database:
            return database.execute(statement, values).fetchall()

    def audited(self, action: str = "%") -> list[dict[str, Any]]:
        """The entries of the audit log in SQLite, or by `secrets/database`, the oldest first: of one action, or all."""
        chosen = "SELECT actor, action, subject, count, reason FROM audit WHERE action LIKE ? ORDER BY id"
        names = ("actor", "action", "subject", "count", "reason")
        server = self.path / "secrets/database"
        if not server.exists():
            return [dict(zip(names, row, strict=True)) for row in self.sql(chosen, action)]
        engine = sa.create_engine(server.read_text("utf-8"))
        with engine.connect() as connection:
            found = connection.exec_driver_sql(chosen.replace("?", "%s"), (action,)).all()
        engine.dispose()
        return [dict(zip(names, row, strict=True)) for row in found]

    def add(self, text: str) -> None:
        with self.config.open("a", encoding="utf-8") as stream:
            stream.write("\n" + text)

    def secret(self, name: str, value: str) -> None:
        (self.path / "secrets" / name).write_text(value, "utf-8")

    def without_database(self) -> None:
        """As before the first command that needs one."""
        (self.path / DATABASE).unlink()

    def write(self, name: str, text: str | bytes) -> str:
        (self.path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return name

    def list_of(self, rows: list[Row], name: str = "customers.csv") -> str:
        out = io.StringIO()
        writer = csv.DictWriter(out, list(dict.fromkeys(key for row in rows for key in row)), restval="")
        writer.writeheader()
        writer.writerows(rows)
        return self.write(name, out.getvalue())

    def onboard(self, *arguments: str) -> Ended:
        """Call the console script's function in this process, in this directory."""
        out, err = io.StringIO(), io.StringIO()
        with (
            contextlib.chdir(self.path),
            mock.patch.object(sys, "argv", ["onboard", *arguments]),
            mock.patch.dict(os.environ, self.environ),
            mock.patch.object(embedded, "TICK", TICK),
            mock.patch.object(Database, "__init__", _open_not_synced),
            own_logging(),
            no_hanging(),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            try:
                main()
                code: Any = 0
            except SystemExit as end:
                code = end.code
        return checked(Ended(code or 0, out.getvalue(), err.getvalue()))

    def start(self, *arguments: str, program: Sequence[str] = (ONBOARD,)) -> subprocess.Popen[str]:
        """Start the command as a process; it is ended with the test at the latest. Where the `program` is ours or
        another module that Python runs, as Celery is, ours are loaded already: see `preloaded`."""
        is_ours = (program == (ONBOARD,) or program[:2] == (sys.executable, "-m")) and sys.platform == "linux"
        process = (Preloaded if is_ours else subprocess.Popen)(
            [*program, *arguments],
            cwd=self.path,
            env={**os.environ, **self.environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # its children are ended with it
        )
        self.processes.append(process)
        return process

    def end(self, process: subprocess.Popen[str], by: signal.Signals | None = None) -> Ended:
        """Wait for a process, after a signal to it if one is given."""
        if by is not None:
            process.send_signal(by)
        out, err = process.communicate(timeout=ENDS_WITHIN)
        return checked(Ended(process.returncode, out, err))

    def run_process(self, *arguments: str) -> Ended:
        return self.end(self.start(*arguments))

    def close(self) -> None:
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate(timeout=ENDS_WITHIN)


def _open_not_synced(database: Database, *given: Any, **named: Any) -> None:
    _open(database, *given, **named)
    not_synced(database)


def running(desk: Desk, kind: str) -> None:
    """As if a process of this kind ran."""
    now = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S.%f}"  # noqa: TID251 -- the command goes by the machine's clock
    into = "INSERT INTO process (id, kind, host, pid, release, first_keys, started_at, seen_at)"
    desk.sql(into + " VALUES (?, ?, 'box', 7, '0.1.0', '', ?, ?)", kind, kind, now, now)


def checked(ended: Ended) -> Ended:
    """No command ever shows a traceback, or calls its end a bug."""
    for text in (ended.out, ended.err):
        assert "Traceback" not in text, text
        assert "a bug" not in text, text
    return ended


@contextlib.contextmanager
def no_hanging() -> Iterator[None]:
    """Interrupts a command that does not end, as a person would: it then ends with 130."""
    timer = threading.Timer(ENDS_WITHIN, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextlib.contextmanager
def own_logging() -> Iterator[None]:
    """Commands replace the root logger's handlers: restore them for the tests."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        for handler in root.handlers:
            if handler not in handlers:
                handler.close()
        root.handlers[:] = handlers
        root.setLevel(level)


def customers(number: int, *, au: int = 0) -> list[Row]:
    """Invented customers, by email; the first `au` of them known to FrankieOne."""
    return [
        {
            "customer_id": f"C-{n:04}",
            "first_name": f"Quirin{n}",
            "last_name": f"Ostrander{n}",
            "email": f"box{n}@example.com",
            "country": "AU" if n < au else "DE",
            "entity_id": str(UUID(int=0x7B0D2F6E9C514A8E8F0A2D1C5E400000 + n)) if n < au else "",
        }
        for n in range(number)
    ]
