"""Logging: ids, accounts, endings and seconds; never a name, address, token or link.

At debug: a line for each step. At info: a line for each chunk that was written, and for each step that failed.

Lines of libraries are written only as far as they are known to hold nothing personal (`foreign_lines`). So is what
Python itself would print: exceptions that end a thread or the process, exceptions that nobody can catch, and warnings.
asyncio writes an exception that a loop catches to its log.
"""

import logging
import sys
import threading
from pathlib import Path
from typing import Any

from worker.foundation.foreign_lines import ended_with, is_written, kind_of, one_line, place_of, reduced
from worker.foundation.private_files import PrivateLog

FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
LEVELS = ("debug", "info", "warning", "error")
log = logging.getLogger(__name__)


class _Lean(logging.Formatter):
    """Writes of a library's line what is known, and of an exception its type and place, not its text."""

    def format(self, record: logging.LogRecord) -> str:
        return super().format(reduced(record))

    def formatMessage(self, record: logging.LogRecord) -> str:
        # A name or a reason from outside must not look like a line of its own, nor move a terminal's cursor.
        record.message = one_line(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:
        kind, _value, trace = ei
        return f"{kind_of(kind)}{place_of(trace)}" if kind is not None else ""


def set_up(level: str = "info", file: Path | None = None) -> None:
    """Send the log to a file, or to standard error. Raises OSError when the file cannot be written."""
    handler: logging.Handler = PrivateLog(file) if file else logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lean(FORMAT))
    handler.addFilter(is_written)
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    # A warning for each message that arrives while a worker ends; the broker delivers them again.
    logging.getLogger("amqp").setLevel(logging.ERROR)
    logging.captureWarnings(True)
    # Only Python's own: another program's hooks, such as a test runner's, stay.
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = _thread_ended
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _not_raised
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _process_ends


def _thread_ended(ended: threading.ExceptHookArgs) -> None:
    if ended.exc_type is not SystemExit:
        log.error("a thread ended with %s", ended_with(ended.exc_value))


def _not_raised(what: "sys.UnraisableHookArgs") -> None:
    log.error("an exception was ignored: %s", ended_with(what.exc_value))


def _process_ends(kind: type[BaseException], error: BaseException, _trace: Any) -> None:
    if not issubclass(kind, KeyboardInterrupt):
        log.critical("the process ends with %s", ended_with(error))
