"""Ends a trial's processes by their ids. Each process leads its own process group."""

import contextlib
import os
import signal
import subprocess
import time
from typing import Any

Process = subprocess.Popen[Any]


def group_lives(process: Process) -> bool:
    """True if a process of the group still runs, even if its leader has ended."""
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True


def kill_group(process: Process) -> None:
    """Kill the process and its children; no effect if they have ended."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def end(process: Process, by: signal.Signals = signal.SIGTERM, *, patience: float) -> bool:
    """Send `by`, and kill the group after `patience` seconds. True if the process and its children ended in time."""
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
