"""The stage of a trial: a folder with a configuration, the sandbox, and the product's own commands.

The stage always ends the processes that it started, by their ids.
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
        """The logs of our own processes, without the sandbox's, which is the provider."""
        return [path for path in sorted(self.folder.glob("*.log")) if not path.name.startswith("sandbox")]

    def start(self, *arguments: str, speaks: bool | None = None) -> Process:
        """Start a command. Its standard error goes to its log; its standard output too, unless `speaks`."""
        name = arguments[0]
        speaks = name in SPEAKING if speaks is None else speaks
        log = self.folder / f"{name}-{len(self._started) + 1}.log"
        with log.open("w") as stream:
            process = subprocess.Popen(
                # Not the console script, which may belong to another checkout.
                [sys.executable, "-c", "from onboarding_worker.cli import main; main()", *arguments],
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
        """The output of a command. Raises RuntimeError for an exit code that is not a result's."""
        process = self.start(*arguments, speaks=speaks)
        out, _ = process.communicate(timeout=within)
        if process.returncode not in (0, 1):
            raise RuntimeError(f"onboard {arguments[0]} ended with {process.returncode}; see {self.folder}")
        return str(out or "")

    def play(self, options: list[str]) -> None:
        """Start the sandbox, and write the configuration that points at it."""
        process = self.start("sandbox", "--port", "0", "--smtp-port", "0", "--json", *options)
        assert process.stdout is not None  # noqa: S101 -- it was asked for
        started = json.loads(process.stdout.readline())
        self.url = started["url"]
        self.run("init", "--sandbox", "--port", str(started["port"]), "--smtp-port", str(started["smtp_port"]))
        # A trial of minutes must not wait days for the end of sessions whose tokens were lost.
        config = self.folder / "onboarding.toml"
        text = config.read_text("utf-8")
        config.write_text(text.replace('provider = "idenfy', 'on_orphan = "hold"\nprovider = "idenfy'), "utf-8")
        self.configure({"sms.per_country": "off"})  # nor for the next hour's texts: all numbers are of one country

    def configure(self, values: Mapping[str, str]) -> None:
        """Set keys of the configuration, such as `worker.lease`, for every later command."""
        for key, value in values.items():
            self.environ["ONBOARDING__" + key.replace(".", "__").replace("-", "_").upper()] = value

    def report(self, batch: str = "latest") -> list[dict[str, Any]]:
        self.run("report", batch, "--format", "jsonl", "--with-links", "--out", "report.jsonl")
        path = self.folder / "report.jsonl"
        lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        path.unlink()  # it holds links
        return lines

    def end_warmly(self, processes: list[Process]) -> list[str]:
        """Send SIGTERM to all of them. Returns complaints about how they ended."""
        for process in processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + ENDS_WITHIN
        names = {process.pid: name for name, process in self._started}
        wrong = []
        for process in processes:
            # The process has got its SIGTERM: a second one would be a cold shutdown.
            if not end(process, signal.SIGCONT, patience=max(deadline - time.monotonic(), 0.1)):
                late = f"{names[process.pid]} {process.pid} still ran {ENDS_WITHIN:g} s after SIGTERM"
                wrong.append(f"ends_after_sigterm: {late}")
        return wrong

    def left_behind(self) -> list[str]:
        """A complaint for each process group that still has processes after its leader has ended."""
        return [
            f"no_process_is_left: children of {name} {process.pid} still run"
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


# The commands whose standard output is read.
SPEAKING = ("sandbox", "run", "status")
