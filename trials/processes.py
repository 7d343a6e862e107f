"""Processes that a trial starts, and ends by their ids: each is the leader of a process group of its own."""

import contextlib
import os
import signal
import subprocess
import time
from typing import Any

Process = subprocess.Popen[Any]


def group_lives(process: Process) -> bool:
    """Whether anything of its group is left, be it the children of a process that has ended."""
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True


def kill_group(process: Process) -> None:
    """End it and its children at once; harmless where they have ended."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def end(process: Process, by: signal.Signals = signal.SIGTERM, *, patience: float) -> bool:
    """Ask it to end, and kill its group after `patience` seconds; whether it ended by itself, with all its children."""
    if process.poll() is None:
        process.send_signal(by)
    deadline = time.monotonic() + patience
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(patience)
    while process.poll() is not None and group_lives(process) and time.monotonic() < deadline:
        time.sleep(0.05)
    clean = process.poll() is not None and not group_lives(process)
    kill_group(process)
    return clean
