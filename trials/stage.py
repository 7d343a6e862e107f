"""Where a trial plays: a folder with a configuration, the sandbox beside it, and the product's own commands.

Every process that is started here is ended here, by its id, whatever happens.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from trials.processes import Process, end, group_lives, kill_group

ROOT = Path(__file__).resolve().parent.parent
ENDS_WITHIN = 40.0  # seconds after SIGTERM, as an operator's service manager would wait


class Stage:
    def __init__(self, prefix: str, *, keep: bool = False) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=prefix))
        self.folder.chmod(0o711)  # servers of another user have folders in it
        self.keep = keep
        self.environ: dict[str, str] = {}
        self.url = ""
        self._started: list[tuple[str, Process]] = []

    @property
    def logs(self) -> list[Path]:
        """What our own processes wrote: not the sandbox, which is the provider."""
        return [path for path in sorted(self.folder.glob("*.log")) if not path.name.startswith("sandbox")]

    def start(self, *arguments: str, speaks: bool | None = None) -> Process:
        """Start a command; its standard error is its log, and its standard output too unless it `speaks`."""
        name = arguments[0]
        speaks = name in SPEAKING if speaks is None else speaks
        log = self.folder / f"{name}-{len(self._started) + 1}.log"
        with log.open("w") as stream:
            process = subprocess.Popen(
                # Not by its console script, which would be another checkout's.
                [sys.executable, "-c", "from worker.cli import main; main()", *arguments],
                cwd=self.folder,
                env={**os.environ, "PYTHONPATH": str(ROOT), **self.environ},
                text=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if speaks else stream,
                stderr=stream,
                start_new_session=True,
            )
        self._started.append((name, process))
        return process

    def run(self, *arguments: str, within: float = 180, speaks: bool | None = None) -> str:
        """Run a command to its end; what it said. Raises RuntimeError for an exit code that is not a result's."""
        process = self.start(*arguments, speaks=speaks)
        out, _ = process.communicate(timeout=within)
        if process.returncode not in (0, 1):
            raise RuntimeError(f"onboard {arguments[0]} ended with {process.returncode}; see {self.folder}")
        return str(out or "")

    def play(self, options: list[str]) -> None:
        """Start the sandbox, and write the configuration that points at it."""
        process = self.start("sandbox", "--port", "0", "--smtp-port", "0", "--json", *options)
        assert process.stdout is not None  # noqa: S101 -- it was asked for
        said = json.loads(process.stdout.readline())
        self.url = said["url"]
        self.run("init", "--sandbox", "--port", str(said["port"]), "--smtp-port", str(said["smtp_port"]))

    def configure(self, values: Mapping[str, str]) -> None:
        """Keys of the configuration, such as `worker.lease`, for every command from now on."""
        for key, value in values.items():
            self.environ["ONBOARDING__" + key.replace(".", "__").replace("-", "_").upper()] = value

    def report(self) -> list[dict[str, Any]]:
        self.run("report", "latest", "--format", "jsonl", "--with-links", "--out", "report.jsonl")
        path = self.folder / "report.jsonl"
        lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        path.unlink()  # it holds links
        return lines

    def end_warmly(self, processes: list[Process]) -> list[str]:
        """SIGTERM to all of them; what is wrong with how they ended."""
        for process in processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + ENDS_WITHIN
        names = {process.pid: name for name, process in self._started}
        wrong = []
        for process in processes:
            # Told already: a second SIGTERM would be a cold end.
            if not end(process, signal.SIGCONT, patience=max(deadline - time.monotonic(), 0.1)):
                late = f"{names[process.pid]} {process.pid} was not gone {ENDS_WITHIN:g} s after SIGTERM"
                wrong.append(f"ends_when_told: {late}")
        return wrong

    def left_behind(self) -> list[str]:
        """Groups whose leader has ended and that still have processes."""
        return [
            f"nothing_is_left: children of {name} {process.pid} are still there"
            for name, process in self._started
            if process.poll() is not None and group_lives(process)
        ]

    def close(self) -> None:
        for _, process in self._started:
            kill_group(process)
            if process.stdout is not None:
                process.stdout.close()
        if not self.keep:
            shutil.rmtree(self.folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_error: object) -> None:
        self.close()


# Commands whose standard output is read.
SPEAKING = ("sandbox", "run", "status")
