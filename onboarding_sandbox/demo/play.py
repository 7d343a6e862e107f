"""Plays the demo: an invented list on this machine, with the sandbox in place of the providers and a mail server.

It plays in a folder with a configuration and a list, by commands as a user types them. Through Celery it has a database
of its own on PostgreSQL, two workers and `beat`.
"""

import asyncio
import json
import os
import select
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any

import psycopg
from kombu.connection import Connection
from kombu.exceptions import OperationalError
from psycopg import sql
from rich.console import Console
from rich.panel import Panel

from onboarding_sandbox import Sandbox, SandboxOptions

LIST = Path(__file__).parent / "customers.csv"
SQLITE = 'url = "sqlite:///onboarding.db"'
# Addresses of servers may have passwords, which stand in no file.
DATABASE, BROKER = "ONBOARDING_DEMO_DATABASE", "ONBOARDING_DEMO_BROKER"
_MAIN = "from onboarding_worker.cli import main; main()"


class CannotPlay(Exception):
    """The demo cannot start. The text says why, and what to do."""


@contextmanager
def sandbox_in_background() -> Iterator[Sandbox]:
    """Runs the sandbox on a loop of its own."""
    sandbox, loop = Sandbox(SandboxOptions(port=0, smtp_port=0)), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(sandbox.start(), loop).result()
        try:
            yield sandbox
        finally:
            asyncio.run_coroutine_threadsafe(sandbox.stop(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class Stage:
    """The folder of the demo. What is in it from an earlier demo is removed. Raises CannotPlay."""

    def __init__(self, folder: Path) -> None:
        try:
            if folder.exists() and any(folder.iterdir()) and not (folder / LIST.name).is_file():
                raise CannotPlay(f"{folder} has other files, and the demo would remove them: choose another --folder")
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            shutil.copy(LIST, folder / LIST.name)
        except OSError as error:
            raise CannotPlay(f"{folder}: {error.strerror}: choose another --folder") from None
        self.folder = folder
        self._environment = dict(os.environ)
        self._environment.pop("ONBOARDING_CONFIG", None)

    def configure(self, sandbox: Sandbox, *, database: str = "", broker: str = "") -> None:
        """Write onboarding.toml. `database`, `broker`: the addresses of servers; "" for SQLite, and for no broker.
        Raises CannotPlay."""
        ports = ["--port", str(sandbox.port), "--smtp-port", str(sandbox.smtp_port)]
        written = self.onboard("init", "--sandbox", *ports, capture=True)
        if written.returncode:
            raise CannotPlay(f"`onboard init --sandbox` ended with {written.returncode}")
        if database:
            file = self.folder / "onboarding.toml"
            text = file.read_text(encoding="utf-8")
            url = f'url = {{ env = "{DATABASE}" }}'
            file.write_text(text.replace(SQLITE, url) + f'\n[broker]\nurl = {{ env = "{BROKER}" }}\n', encoding="utf-8")
            self._environment |= {DATABASE: database, BROKER: broker}

    def onboard(self, *arguments: str, capture: bool = False) -> subprocess.CompletedProcess[str]:
        """Run a command in the folder until it ends. `capture`: its output is returned and not shown."""
        return subprocess.run(  # noqa: S603 -- our own interpreter and arguments
            [sys.executable, "-c", _MAIN, *arguments],
            cwd=self.folder,
            env=self._environment,
            text=True,
            check=False,
            stdout=subprocess.PIPE if capture else None,
        )

    @contextmanager
    def started(self, *arguments: str, log: Path) -> Iterator["subprocess.Popen[bytes]"]:
        """A command that goes on in the background until the block ends. What it writes goes to `log`."""
        with log.open("wb") as stream:
            process = subprocess.Popen(  # noqa: S603 -- our own interpreter and arguments
                [sys.executable, "-c", _MAIN, *arguments],
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
            )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


BROKERS = {"amqp": "amqp://guest:guest@127.0.0.1:5672//", "redis": "redis://127.0.0.1:6379/9"}
SERVER = "postgresql://postgres@127.0.0.1:5432/postgres"
PATIENCE = 300.0  # seconds for the whole list
# What workers declare: their queues, and Celery's for tasks that are due later.
QUEUES = (
    *(f"onboarding.{queue}" for queue in ("sweep", "issue", "invite", "tell")),
    *(f"celery_delayed_{level}" for level in range(28)),
)
EXCHANGES = (
    *("onboarding.wake-ups", "onboarding.celery.pidbox", "celery_delayed_delivery"),
    *(f"celery_delayed_{level}" for level in range(28)),
)


@contextmanager
def database(server: str) -> Iterator[str]:
    """The address of a new, empty database on the server, which is removed in the end. Raises CannotPlay."""
    name = f"onboarding_demo_{token_hex(4)}"
    server = server.replace("postgresql+psycopg://", "postgresql://", 1)
    try:
        with psycopg.connect(server, autocommit=True, connect_timeout=5) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            place = connection.info
            user = f"{place.user}:{place.password}" if place.password else place.user
            address = f"postgresql+psycopg://{user}@{place.host}:{place.port}/{name}"
    except (psycopg.Error, ValueError):
        hint = "start one, or name yours: --database postgresql://user:password@host/postgres"
        raise CannotPlay(f"no PostgreSQL in which a database can be made: {hint}") from None
    try:
        yield address
    finally:
        with psycopg.connect(server, autocommit=True, connect_timeout=5) as connection:
            drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
            connection.execute(drop.format(sql.Identifier(name)))


@contextmanager
def unused(broker: str) -> Iterator[None]:
    """Nothing of other workers is on the broker, and in the end nothing of the demo's. Raises CannotPlay."""
    with Connection(broker, connect_timeout=5) as connection:
        try:
            connection.ensure_connection(max_retries=1)
            is_used = _redis(connection).dbsize() if broker.startswith("redis") else _has_queues(connection)
        except (OperationalError, *connection.connection_errors, *connection.channel_errors):
            raise CannotPlay("the broker cannot be reached: start it, or name yours with --broker") from None
    if is_used:
        raise CannotPlay("other workers use this broker: name another virtual host or database with --broker")
    try:
        yield
    finally:
        with Connection(broker, connect_timeout=5) as connection:
            if broker.startswith("redis"):
                _redis(connection).flushdb()  # it was empty before
            else:
                channel = connection.channel()
                for queue in QUEUES:
                    channel.queue_delete(queue)
                for exchange in EXCHANGES:
                    channel.exchange_delete(exchange)


def _redis(connection: Connection) -> Any:
    return connection.default_channel.client  # type: ignore[attr-defined]  # that of Redis has it


def _has_queues(connection: Connection) -> bool:
    try:
        connection.channel().queue_declare("onboarding.sweep", passive=True)
    except connection.channel_errors:  # there is none
        return False
    return True


def send(stage: Stage, console: Console) -> int:
    """Import the list, and let two workers and `beat` send it. Returns the exit code of the import."""
    if stage.onboard("db", "upgrade").returncode:
        raise CannotPlay("`onboard db upgrade` did not succeed")
    with ExitStack() as processes:
        for name, command in (("worker-1", "worker"), ("worker-2", "worker"), ("beat", "beat")):
            processes.enter_context(stage.started(command, log=stage.folder / f"{name}.log"))
        console.print(f"[bold]onboard import {LIST.name}[/]   (two `onboard worker` and one `onboard beat` send it)")
        imported = stage.onboard("import", LIST.name).returncode
        ends = time.monotonic() + PATIENCE
        while True:
            facts = status(stage)
            rows = facts["rows"]
            console.print(f"  {rows['invited']:,} of {rows['total']:,} rows are invited, {rows['waiting']:,} wait")
            if facts["state"] in ("sent", "finished"):
                return imported
            if time.monotonic() > ends:
                raise CannotPlay(f"the list was not sent within {PATIENCE:.0f} s: see {stage.folder}/*.log")
            time.sleep(0.5)


def status(stage: Stage) -> Any:
    """What `onboard status latest --json` prints. Raises CannotPlay."""
    asked = stage.onboard("status", "latest", "--json", capture=True)
    try:
        return json.loads(asked.stdout)
    except ValueError:
        raise CannotPlay(f"`onboard status` ended with {asked.returncode}") from None


ON_PURPOSE = 4  # rows of the list that are not sent: three that are invalid, and a duplicate
OPEN = "dashboard, to look at: "


def play(folder: Path, *, broker: str = "", server: str = "", stay: float = 0.0) -> int:
    """Play it in this folder, and return the exit code. `broker`: send through Celery's workers. `stay`: how many
    seconds the pages stay open. Raises CannotPlay.
    """
    console = Console(highlight=False)
    with sandbox_in_background() as sandbox, ExitStack() as ends:
        stage, where = Stage(folder), ""
        if broker:
            ends.enter_context(unused(broker))
            where = ends.enter_context(database(server))
        stage.configure(sandbox, database=where, broker=broker)
        began = time.monotonic()
        if broker:
            code = send(stage, console)
        else:
            console.print(f"[bold]onboard run {LIST.name}[/]   (providers and mailbox: the sandbox on this machine)")
            code = stage.onboard("run", LIST.name).returncode
        seconds = time.monotonic() - began
        is_well = _summary(stage, sandbox, console, seconds, on_server=bool(where))
        if stay:
            _stay(stage, sandbox, console, stay)
    # `run` and `import` end with 1 for the rows that are invalid on purpose.
    return 0 if code in (0, 1) and is_well else 1


def _summary(stage: Stage, sandbox: Sandbox, console: Console, seconds: float, *, on_server: bool) -> bool:
    """Show what became of the list. Returns whether all that can be sent was sent. `on_server`: a server has the
    database, and it is dropped at the end of the demo."""
    facts = status(stage)
    for report in ("report.csv", "report.html"):
        stage.onboard("report", "latest", "--out", report)
    mails, texts = list(sandbox.mailbox), list(sandbox.texts)
    if mails:
        mail = next((mail for mail in mails if mail.headers["Content-Language"] == "en"), mails[0])
        head = f"From: {mail.headers['From']}\nTo: {mail.headers['To']}\nSubject: {mail.subject}"
        shown = Panel(f"{head}\n\n{(mail.text or '').strip()}", title="one of the emails", width=100)
        console.print(shown, markup=False)
    rows, messages, folder = facts["rows"], facts["invitations"], stage.folder
    sent = f"{rows['invited']:,} invited ({len(mails):,} emails, {len(texts):,} texts)"
    refused = f"{rows['rejected']:,} rejected, {rows['duplicate']:,} duplicate"
    console.print(f"{rows['total']:,} rows in {seconds:.1f} s: {sent}, {refused}")
    console.print(f"each row: {folder / 'report.html'} and {folder / 'report.csv'}")
    if not on_server:
        command = Path(sys.executable).with_name("onboard")
        console.print(f"look around: cd {folder} && {command} status", soft_wrap=True)
    return bool(rows["invited"] == rows["total"] - ON_PURPOSE and messages["sent"] == len(mails) + len(texts))


def _stay(stage: Stage, sandbox: Sandbox, console: Console, seconds: float) -> None:
    """Keep the mailbox and the dashboard open until Enter is pressed, or for so many seconds."""
    log = stage.folder / "web.log"
    with stage.started("web", "--bind", "127.0.0.1:0", log=log) as web:
        dashboard, ends = "", time.monotonic() + 20
        while not dashboard and time.monotonic() < ends and web.poll() is None:
            time.sleep(0.1)
            line, end, _ = log.read_text(encoding="utf-8", errors="replace").partition(OPEN)[2].partition("\n")
            dashboard = line if end else ""
        console.print(f"look at the mailbox    http://127.0.0.1:{sandbox.port}/", soft_wrap=True)
        if dashboard:
            console.print(f"look at the dashboard  {dashboard}", soft_wrap=True)
        console.print(f"Enter ends it; it ends by itself after {seconds:.0f} seconds.")
        if sys.stdin.isatty():
            select.select([sys.stdin], [], [], seconds)
        else:
            time.sleep(seconds)
