"""Plays the demo: an invented list on this machine, with the sandbox in place of the providers and a mail server."""

import select
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.panel import Panel

from onboarding_sandbox import Sandbox
from onboarding_sandbox.demo.stage import LIST, Stage, sandbox_in_background
from onboarding_sandbox.demo.workers import database, send, status, unused

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
        dashboard = _address(web, log)
        console.print(f"look at the mailbox    http://127.0.0.1:{sandbox.port}/", soft_wrap=True)
        if dashboard:
            console.print(f"look at the dashboard  {dashboard}", soft_wrap=True)
        console.print(f"Enter ends it; it ends by itself after {seconds:.0f} seconds.")
        if sys.stdin.isatty():
            select.select([sys.stdin], [], [], seconds)
        else:
            time.sleep(seconds)


def _address(web: "subprocess.Popen[bytes]", log: Path) -> str:
    """The address of the dashboard, with its key, as the process prints it; "" if it prints none in 20 seconds."""
    ends = time.monotonic() + 20
    while time.monotonic() < ends and web.poll() is None:
        found = log.read_text(encoding="utf-8", errors="replace").partition(OPEN)[2]
        if "\n" in found:
            return found.partition("\n")[0]
        time.sleep(0.1)
    return ""
