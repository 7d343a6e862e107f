"""The fixtures of all tests of lists, and workbooks that are read here."""

import importlib
import io
import os
import subprocess
import sys
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from onboarding_worker.features.spreadsheets import read_apart
from onboarding_worker.lists.lines import ListRefused
from tests.lists.conftest import read, refusal

__all__ = ["read", "refusal"]


@pytest.fixture
def refused_here() -> Callable[[bytes], str]:
    """Why a workbook is refused. It is read in this process: to start another takes longer than to read it."""
    from onboarding_worker.features.spreadsheets.xlsx import read_workbook

    def refused_here(content: bytes) -> str:
        with pytest.raises(ListRefused) as refused:
            list(read_workbook(io.BytesIO(content), None)[0])
        return "\n".join(refused.value.reasons)

    return refused_here


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that reads a list is a fork of this one: most of its time is that of loading what it reads with."""
    if sys.platform == "linux":  # elsewhere memory is not bounded
        ours = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        monkeypatch.setattr(read_apart, "MOST_MEMORY", ours + read_apart.MOST_MEMORY)
    monkeypatch.setattr(read_apart, "subprocess", SimpleNamespace(run=fork, DEVNULL=None, TimeoutExpired=TimeoutError))
    importlib.import_module("onboarding_worker.features.spreadsheets.xlsx")


def fork(command: list[str], *, stdin: Any, stdout: Any, **_options: Any) -> subprocess.CompletedProcess[bytes]:
    """As `subprocess.run` would run `python -P -c`, but for what the other process knows already."""
    *_, program, asked = command
    pid = os.fork()
    if pid == 0:
        try:
            for number, file in enumerate((stdin, stdout)):
                os.dup2(file.fileno(), number)
            sys.argv = ["-c", asked]
            warnings.simplefilter("ignore")  # here they are errors
            tracemalloc.stop()
            exec(program)  # noqa: S102 -- what the command would run
        finally:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    return subprocess.CompletedProcess(command, os.waitstatus_to_exitcode(status))
