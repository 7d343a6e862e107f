"""Logging: ids, accounts, endings and seconds; never a name, address, token or link.

At debug: a line for each step. At info: a line for each chunk that was written, and for each step that failed.

Lines of libraries are written only as far as they are known to hold nothing personal (`foreign_lines`). So is what
Python itself would print: exceptions that end a thread or the process, exceptions that nothing can catch, and warnings.
asyncio writes an exception that a loop catches to its log. `log_format` makes the lines.
"""

import logging
import sys
import threading
from pathlib import Path
from typing import Any

from worker.core.foundation.foreign_lines import ended_with, is_written
from worker.core.foundation.private_files import private_log

LEVELS = ("debug", "info", "warning", "error")
FORMS = ("auto", "text", "json")
log = logging.getLogger(__name__)


class _Form(logging.Formatter):
    """Makes lines by `log_format`, which it loads with the first line: structlog takes a quarter of a second."""

    def __init__(self, *, as_json: bool) -> None:
        super().__init__()
        self._as_json = as_json
        self._line: logging.Formatter | None = None

    def format(self, record: logging.LogRecord) -> str:
        if self._line is None:
            from worker.core.foundation.log_format import LogLine

            self._line = LogLine(as_json=self._as_json)
        return self._line.format(record)


def set_up(level: str = "info", file: Path | None = None, form: str = "auto") -> None:
    """Send the log to a file, or to standard error. Raises OSError when the file cannot be written.

    `form` auto: text where a person reads it, at a terminal; JSON otherwise.
    """
    handler: logging.Handler = private_log(file) if file else logging.StreamHandler(sys.stderr)
    at_a_terminal = file is None and sys.stderr.isatty()
    handler.setFormatter(_Form(as_json=form == "json" or (form == "auto" and not at_a_terminal)))
    handler.addFilter(is_written)
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    # A warning for each message that arrives while a worker ends; the broker delivers them again.
    logging.getLogger("amqp").setLevel(logging.ERROR)
    # A warning for each queue, at each start: delayed delivery, which is not used, would need another exchange.
    logging.getLogger("kombu.transport.native_delayed_delivery").setLevel(logging.ERROR)
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
