"""Where the demo plays: a folder with a configuration and a list, the sandbox, and commands as a user types them."""

import asyncio
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from onboarding_sandbox import Sandbox, SandboxOptions

LIST = Path(__file__).parent / "customers.csv"
SQLITE = 'url = "sqlite:///onboarding.db"'
# Addresses of servers may have passwords, which stand in no file.
DATABASE, BROKER = "ONBOARDING_DEMO_DATABASE", "ONBOARDING_DEMO_BROKER"
_MAIN = "from worker.cli import main; main()"


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
        if folder.exists() and any(folder.iterdir()) and not (folder / LIST.name).is_file():
            raise CannotPlay(f"{folder} has other files, and the demo would remove them: choose another --folder")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        shutil.copy(LIST, folder / LIST.name)
        self.folder = folder
        self._environment = dict(os.environ)
        self._environment.pop("ONBOARDING_CONFIG", None)

    def configure(self, sandbox: Sandbox, *, database: str = "", broker: str = "") -> None:
        """Write onboarding.toml. `database`, `broker`: the addresses of servers; "" for SQLite, and for no broker.

        Raises CannotPlay.
        """
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
