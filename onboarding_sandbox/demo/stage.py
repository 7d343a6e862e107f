"""Where the demo plays: a folder with a configuration and a list, the sandbox, and commands as a user types them."""

import asyncio
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from onboarding_sandbox import Sandbox, SandboxOptions

LIST = Path(__file__).parent / "customers.csv"
SQLITE = 'url = "sqlite:///onboarding.db"'
# Addresses of servers may have passwords, which stand in no file.
DATABASE, BROKER = "ONBOARDING_DEMO_DATABASE", "ONBOARDING_DEMO_BROKER"
_MAIN = "from worker.cli import main; main()"


class CannotPlay(Exception):
    """The demo cannot start. The text says why, and what to do."""


class Background:
    """Runs the sandbox on a loop of its own."""

    def __init__(self) -> None:
        self.sandbox = Sandbox(SandboxOptions(port=0, smtp_port=0))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Sandbox:
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self.sandbox.start(), self._loop).result()
        except BaseException:
            self._end_loop()
            raise
        return self.sandbox

    def __exit__(self, *_raised: object) -> None:
        try:
            asyncio.run_coroutine_threadsafe(self.sandbox.stop(), self._loop).result()
        finally:
            self._end_loop()

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


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

    def start(self, *arguments: str, log: str) -> "Started":
        """Start a command that goes on in the background. What it writes goes to the file `log` in the folder."""
        return Started(arguments, self.folder, self._environment, self.folder / log)


class Started:
    """A process of ours in the background. Leaving the block ends it."""

    def __init__(self, arguments: tuple[str, ...], folder: Path, environment: Mapping[str, str], log: Path) -> None:
        self.log = log
        with log.open("wb") as stream:
            self.process = subprocess.Popen(  # noqa: S603 -- our own interpreter and arguments
                [sys.executable, "-c", _MAIN, *arguments],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> "Started":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
