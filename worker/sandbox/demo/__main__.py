"""`make demo`: runs an invented list on this machine, with the sandbox instead of the providers and a mail server.

All its files are in ./demo; it leaves nothing running.
"""

import asyncio
import json
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

from rich.console import Console
from rich.panel import Panel

from worker.sandbox import Sandbox, SandboxOptions
from worker.sandbox.mailbox import Mail

LIST = Path(__file__).parent / "customers.csv"
FOLDER = Path("demo")


class Background:
    """Runs the sandbox on its own loop for the time of the demo."""

    def __init__(self) -> None:
        self.sandbox = Sandbox(SandboxOptions(port=0, smtp_port=0))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Sandbox:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.sandbox.start(), self._loop).result()
        return self.sandbox

    def __exit__(self, *_raised: object) -> None:
        asyncio.run_coroutine_threadsafe(self.sandbox.stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


def onboard(*arguments: str, capture: bool = False) -> subprocess.CompletedProcess[str]:
    """Run one of our own commands in the demo's folder, as a user would type it."""
    command = [sys.executable, "-c", "from worker.cli import main; main()", *arguments]
    return subprocess.run(command, cwd=FOLDER, text=True, check=False, stdout=subprocess.PIPE if capture else None)  # noqa: S603 -- our own interpreter and arguments


def show_mail(console: Console, mail: Mail) -> None:
    head = f"From: {mail.headers['From']}\nTo: {mail.headers['To']}\nSubject: {mail.subject}"
    console.print(Panel(f"{head}\n\n{(mail.text or '').strip()}", title="one of the emails", width=100), markup=False)


def main() -> int:
    console = Console(highlight=False)
    if FOLDER.exists():
        shutil.rmtree(FOLDER)
    FOLDER.mkdir()
    shutil.copy(LIST, FOLDER / "customers.csv")
    with Background() as sandbox:
        ports = ["--port", str(sandbox.port), "--smtp-port", str(sandbox.smtp_port)]
        if onboard("init", "--sandbox", *ports, capture=True).returncode != 0:
            return 1
        console.print("[bold]onboard run customers.csv[/]   (providers and mailbox: the sandbox on this machine)")
        began = time.monotonic()
        ran = onboard("run", "customers.csv")
        seconds = time.monotonic() - began
        facts = json.loads(onboard("status", "latest", "--json", capture=True).stdout)
        onboard("report", "latest", "--out", "report.csv")
        onboard("report", "latest", "--out", "report.html")
        mails, texts = list(sandbox.mailbox), list(sandbox.texts)
        if mails:
            show_mail(console, next((mail for mail in mails if mail.headers["Content-Language"] == "en"), mails[0]))
    rows, messages = facts["rows"], facts["invitations"]
    sent = f"{rows['invited']:,} invited ({len(mails):,} emails, {len(texts):,} texts)"
    refused = f"{rows['rejected']:,} rejected, {rows['duplicate']:,} duplicate"
    console.print(f"{rows['total']:,} rows in {seconds:.1f} s: {sent}, {refused}")
    console.print(f"each row: {FOLDER / 'report.html'} and {FOLDER / 'report.csv'}")
    console.print(f"look around: cd {FOLDER} && {Path(sys.executable).with_name('onboard')} status", soft_wrap=True)
    # The list has three bad rows on purpose: `run` ends with 1 for them.
    all_sent = rows["invited"] == rows["total"] - 4 and messages["sent"] == len(mails) + len(texts)
    return 0 if ran.returncode in (0, 1) and all_sent else 1


if __name__ == "__main__":
    sys.exit(main())
