"""Logging: ids, accounts, endings and seconds; never a name, address, token or link.

At debug: a line for each step. At info: a line for each chunk that was written, and for each step that failed.

Celery's own lines below WARNING are left out where they would contain a task's arguments or an exception's text.
"""

import logging
import sys
from pathlib import Path
from typing import Any

FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
LEVELS = ("debug", "info", "warning", "error")
# These write arguments, exception texts or raw protocol at INFO or DEBUG.
QUIET = (
    "alembic",
    "aiosmtplib",
    "amqp",
    "asyncio",
    "celery.app.trace",
    "celery.beat",
    "celery.pool",
    "celery.worker.strategy",
    "kombu",
    "mail.log",
)


class _Lean(logging.Formatter):
    """Writes an exception's type and place, not its text: the text may contain what must not be logged."""

    def formatException(self, ei: Any) -> str:
        kind, _value, trace = ei
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        where = f" in {trace.tb_frame.f_code.co_name}, line {trace.tb_lineno}" if trace is not None else ""
        return f"{kind.__name__}{where}" if kind is not None else ""


class _NoTexts(logging.Filter):
    """Reduces Celery's record of a failed task to one line: the task's name and the exception's type, not its text."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, dict) and "exc" in record.args and record.exc_info:
            kind = record.exc_info[0] if isinstance(record.exc_info, tuple) else None
            record.msg = "task %s ended with %s"
            record.args = (record.args.get("name"), kind.__name__ if kind is not None else "an exception")
        return True


_no_texts = _NoTexts()


def set_up(level: str = "info", file: Path | None = None) -> None:
    """Send the log to a file, or to standard error. Raises OSError when the file cannot be written."""
    handler: logging.Handler = logging.FileHandler(file) if file else logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lean(FORMAT))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    # A warning for each message that arrives while a worker ends; the broker delivers them again.
    logging.getLogger("amqp").setLevel(logging.ERROR)
    logging.getLogger("celery.app.trace").addFilter(_no_texts)
