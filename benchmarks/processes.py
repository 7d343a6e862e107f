"""Starts a benchmark's processes, ends them by their ids, and reads their processor time while they run."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from trials.processes import end

CHECKOUT = Path(__file__).resolve().parent.parent
ONBOARD = (sys.executable, "-c", "from onboarding_worker.cli import main; main()")
END_SECONDS = 40  # a warm shutdown waits for calls in flight
TICKS = os.sysconf("SC_CLK_TCK")


class Failed(SystemExit):
    """The benchmark cannot go on; the text says why."""


@dataclass(frozen=True)
class Started:
    """A process with its children in its own process group. Its output goes to a file."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def check(self) -> None:
        """Raise Failed, with the last output, if the process has ended."""
        if self.process.poll() is not None:
            raise Failed(f"a process ended with {self.process.returncode}: {self.last_output()}")

    def last_output(self) -> str:
        return self.log.read_text(errors="replace")[-800:]

    def end(self) -> None:
        if self.process.poll() is None:
            end(self.process, patience=END_SECONDS)


@contextmanager
def running(
    command: Sequence[str | Path], *, folder: Path, environment: Mapping[str, str] | None = None
) -> Iterator[Started]:
    """Run a process in `folder`, which gets its log too, and end it at the end."""
    path = folder / f"{time.monotonic_ns()}.log"
    with path.open("wb") as log:
        process = subprocess.Popen(
            [str(argument) for argument in command],
            cwd=folder,
            env={**os.environ, **importable(), **(environment or {})},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    started = Started(process, path)
    try:
        yield started
    finally:
        started.end()


def importable() -> dict[str, str]:
    """An environment in which Python finds both packages of this checkout from any directory."""
    return {"PYTHONPATH": os.pathsep.join([str(CHECKOUT), *filter(None, [os.environ.get("PYTHONPATH")])])}


def onboard(folder: Path, *arguments: str) -> str:
    """The output of a command of the worker. Raises Failed."""
    done = subprocess.run(
        [*ONBOARD, *arguments], cwd=folder, env={**os.environ, **importable()}, capture_output=True, text=True
    )
    if done.returncode:
        raise Failed(f"onboard {' '.join(arguments)} ended with {done.returncode}: {done.stderr[-500:]}")
    return done.stdout


def wait_for(what: str, is_there: Callable[[], bool], *, seconds: float = 20) -> None:
    """Wait until it is there. Raises Failed."""
    deadline = time.monotonic() + seconds
    while not is_there():
        if time.monotonic() > deadline:
            raise Failed(f"{what}: still missing after {seconds:g} s")
        time.sleep(0.02)


def cpu_seconds(pids: Iterable[int]) -> float | None:
    """The processor time of these processes and their children so far; None without /proc."""
    if not Path("/proc/self/stat").exists():
        return None
    total = 0
    for folder in _with_children(pids):
        with suppress(OSError):  # the process has ended
            # The second field is the command in brackets, and may contain spaces.
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            total += sum(map(int, fields[11:15]))  # user and system time, of the process and of its ended children
    return total / TICKS


def memory_of(pid: int) -> float:
    """The memory of a process and its children in MB; what they share counts once. 0 without /proc."""
    total = 0
    for folder in _with_children([pid]):
        with suppress(OSError):  # the process has ended
            lines = (folder / "smaps_rollup").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def _with_children(pids: Iterable[int]) -> Iterator[Path]:
    """The folders in /proc of these processes and all of their children."""
    left = list(pids)
    while left:
        folder = Path(f"/proc/{left.pop()}")
        yield folder
        with suppress(OSError):  # the process has ended
            left += [int(child) for path in folder.glob("task/*/children") for child in path.read_text().split()]


class Meter:
    """The processor time of processes that start and end. What an ended process used after the last look is missing."""

    def __init__(self, pids: Callable[[], Iterable[int]], *, every: float = 0.5) -> None:
        self._pids = pids
        self._every = every
        self._first: dict[int, float] = {}
        self._last: dict[int, float] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _look(self, *, begins: bool = False) -> None:
        for pid in self._pids():
            seconds = cpu_seconds([pid]) or 0.0
            self._first.setdefault(pid, seconds if begins else 0.0)
            self._last[pid] = max(seconds, self._last.get(pid, 0.0))

    def _run(self) -> None:
        while not self._over.wait(self._every):
            self._look()

    @property
    def seconds(self) -> float:
        return sum(last - self._first[pid] for pid, last in list(self._last.items()))

    def __enter__(self) -> "Meter":
        self._look(begins=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def report(text: str) -> None:
    """Print progress on standard error."""
    print(text, file=sys.stderr, flush=True)
