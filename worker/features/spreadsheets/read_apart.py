"""Reads a workbook or a Parquet file once, in a process of its own, into a file of rows.

The libraries hold in memory what a few bytes claim to be. The system bounds the memory and the processor time of that
process, and what it ends is refused in words. The process has none of our keys, and writes nothing but rows.

`read_apart` runs in this process, `main` in the other.
"""

import errno
import io
import os
import signal
import subprocess
import sys
import weakref
from collections.abc import Iterator, Sequence
from tempfile import TemporaryFile
from typing import BinaryIO, Never

import orjson

from onboarding_worker.core.model.customers import FieldProblem
from onboarding_worker.lists.formats.opening import ListBytes, OwnPlace, bound, too_much
from onboarding_worker.lists.formats.source import Row
from onboarding_worker.lists.lines import ListRefused
from onboarding_worker.providers.values import Refusal

NAMES = {"xlsx": "the workbook", "parquet": "the Parquet file"}
# The package that reads each, and what installs it.
_PACKAGES = {"xlsx": ("openpyxl", "onboarding-worker"), "parquet": ("pyarrow", "onboarding-worker[parquet]")}
# Bytes. 200,000 rows of a workbook need a half of it, and a worker that deploy/ starts has 1 GiB for all its processes.
MOST_MEMORY = 512 << 20
# Of the processor. Real lists take at most three for a megabyte, here; a slow machine needs several times as many.
SECONDS, SECONDS_OF_A_MEGABYTE = 3, 10
_TIMES_SLOWER = 20  # than the processor's time, where the machine has much else to do
_REFUSED = 3  # the exit code where reasons were written, not rows
_MAIN = f"from {__name__} import main; main()"


class KeptRows:
    """The rows, in a temporary file without a name, which ends with this object."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        weakref.finalize(self, file.close)
        self.warnings: list[str] = orjson.loads(next(self._lines()))

    def __iter__(self) -> Iterator[Row]:
        """The rows from the first one on, however often they are asked for, also in a child of this process."""
        lines = self._lines()
        next(lines)
        for number, cells in map(orjson.loads, lines):
            if isinstance(cells, dict):
                yield number, FieldProblem("", cells["problem"], cells["hint"])
            else:
                yield number, [cell if isinstance(cell, str) else Refusal(*cell) for cell in cells]

    def _lines(self) -> Iterator[bytes]:
        return io.BufferedReader(OwnPlace(self._file.fileno()), 1 << 16)


def read_apart(content: ListBytes, form: str, sheet: str | None) -> KeptRows:
    """The rows of a list of this format. Raises ListRefused, and OSError."""
    kept = TemporaryFile("w+b")  # noqa: SIM115 -- closed by its owner
    try:
        with content.file() as given:
            _run(given, kept, form, sheet)
        return KeptRows(kept)
    except BaseException:
        kept.close()
        raise


def _run(given: BinaryIO, kept: BinaryIO, form: str, sheet: str | None) -> None:
    size = os.fstat(given.fileno()).st_size
    seconds = SECONDS + SECONDS_OF_A_MEGABYTE * size // 1_000_000
    asked = orjson.dumps([form, sheet, MOST_MEMORY, seconds, bound(size)]).decode()
    try:
        code = subprocess.run(  # noqa: S603 -- this Python, with our own code
            [sys.executable, "-P", "-c", _MAIN, asked],
            stdin=given,
            stdout=kept,
            stderr=subprocess.DEVNULL,
            # No secret of ours: libraries in C read there what strangers have written.
            env={"PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
            timeout=_TIMES_SLOWER * seconds,
            check=False,
        ).returncode
    except subprocess.TimeoutExpired:
        code = -signal.SIGXCPU
    what = NAMES[form]
    match code:
        case 0:
            return
        case _ if code == _REFUSED:
            kept.seek(0)
            raise ListRefused(orjson.loads(kept.read()))
        case _ if code == -signal.SIGXCPU:
            raise ListRefused([f"{what} is refused: it takes too long to read; save it as CSV"])
        case _ if code in (-signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP):
            raise RuntimeError("the process that reads a list was ended from outside")
        case _:
            raise ListRefused([f"{what} is refused: it is damaged, or needs too much memory; save it as CSV"])


def main() -> Never:
    """The other process: reads standard input, and writes a line of warnings and one for each row."""
    for outside in (signal.SIGINT, signal.SIGTERM):  # they reach the parent too, which ends this process
        signal.signal(outside, signal.SIG_IGN)
    form, sheet, memory, seconds, written = orjson.loads(sys.argv[1])
    _be_bounded(memory, seconds, written)
    what = NAMES[form]
    try:
        with open(0, "rb", closefd=False) as raw, open(1, "wb", closefd=False) as out:
            if form == "parquet":
                from onboarding_worker.features.spreadsheets.parquet import read_parquet

                rows, warnings = read_parquet(raw), list[str]()
            else:
                from onboarding_worker.features.spreadsheets.xlsx import read_workbook

                rows, warnings = read_workbook(raw, sheet)
            out.write(orjson.dumps(warnings) + b"\n")
            for row in rows:
                out.write(orjson.dumps(row, default=_plain) + b"\n")
        os._exit(0)
    except ListRefused as refused:
        _refuse(refused.reasons)
    except ImportError:
        package, ours = _PACKAGES[form]
        _refuse([f"{what} cannot be read: {package} is not installed here, or is broken; pip install '{ours}'"])
    except MemoryError:
        _refuse([f"{what} is refused: it needs more than {memory >> 20:,} MiB of memory; save it as CSV"])
    except Exception as error:  # the libraries raise errors of all kinds for what is damaged
        code = error.errno if isinstance(error, OSError) else None
        if code == errno.EFBIG:
            _refuse([too_much(what)])
        why = "it is damaged or cut off: get it again, or save it again" if code is None else os.strerror(code)
        _refuse([f"{what} cannot be read: {why}"])


def _be_bounded(memory: int, seconds: int, written: int) -> None:
    import resource  # not everywhere

    if sys.platform == "linux":  # others do not know this bound
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (written, written))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core would hold what customers are called


def _plain(value: object) -> object:
    """What JSON has no form for: a refused cell is a list, a refused row is an object."""
    match value:
        case Refusal():
            return list(value)
        case FieldProblem():
            return {"problem": value.problem, "hint": value.hint}
    raise TypeError(type(value).__name__)


def _refuse(reasons: Sequence[str]) -> Never:
    os.ftruncate(1, 0)
    os.lseek(1, 0, os.SEEK_SET)
    os.write(1, orjson.dumps(list(reasons)))
    os._exit(_REFUSED)
