"""Which log lines of libraries are written, and what is left of the others. Pure.

A library's line may hold whatever the library was given: a message's body, an exception's text, an address. So it is
written as it is only if its template is known to hold nothing personal. Of other warnings and errors the place and the
kind of the exception are left; other lines are not written. New lines of a library's next release are reduced too.
"""

import logging
import re
from types import TracebackType
from typing import Any

from worker.core.foundation.connection_failures import in_words

OURS = "worker"
# Logger and template of lines that hold names of queues, processes and brokers. An exception among the arguments
# becomes its kind, or the failure of TLS in words.
KNOWN = frozenset(
    {
        ("celery.apps.worker", "%s ready."),
        ("celery.worker", "Unrecoverable error: %r"),
        ("celery.worker.consumer.connection", "Connected to %s"),
        ("celery.worker.consumer.consumer", "consumer: Cannot connect to %s: %s.\n%s\n"),
        ("celery.worker.consumer.consumer", "%s (%r)"),  # the connection to the broker was lost
        # As a worker ends: the message goes back to its queue.
        ("kombu.transport.virtual.base", "Requeuing undeliverable message for queue %r: No consumers."),
        ("multiprocessing", "Process %r pid:%r exited with %r"),
        ("aiohttp.server", "Error handling request"),
    }
)
# A record of Celery's for a failed task: a mapping with the task's name.
TASK = "task %s ended with %s"
_WARNING = re.compile(r".*?([^/\\]+):(\d+): (\w+): ", re.DOTALL)


def is_written(record: logging.LogRecord) -> bool:
    """Whether a line is written at all: ours, a library's known line, or a library's warning."""
    return is_ours(record) or record.levelno >= logging.WARNING or _is_known(record)


def is_ours(record: logging.LogRecord) -> bool:
    return record.name.partition(".")[0] == OURS


def _is_known(record: logging.LogRecord) -> bool:
    return isinstance(record.msg, str) and (record.name, record.msg) in KNOWN


def reduced(record: logging.LogRecord) -> logging.LogRecord:
    """The record as it may be written: a copy, without what is not known."""
    if is_ours(record):
        return record
    safe = logging.makeLogRecord(record.__dict__)
    # The text of an exception may have been made by another handler. The formatter makes its own, without values.
    safe.exc_text = safe.stack_info = None
    if _is_known(record) and isinstance(record.args, tuple):
        safe.msg = record.msg.replace("\n", " ").rstrip()
        safe.args = tuple(map(_known, record.args))
    elif isinstance(record.args, dict) and "exc" in record.args and isinstance(record.exc_info, tuple):
        safe.msg, safe.args = TASK, (str(record.args.get("name")), kind_of(record.exc_info[0]))
    elif record.name == "py.warnings" and (found := _WARNING.match(record.getMessage())):
        safe.msg, safe.args = "%s at %s:%s; its text may hold personal data", (found[3], found[1], found[2])
    else:
        safe.msg = "a line of %s, line %d, is left out: it may hold personal data"
        safe.args = (record.module, record.lineno)
    return safe


def one_line(text: str) -> str:
    """The text as one line: control characters, line breaks and marks that reverse text are written as escapes."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text.rstrip("\n"))


def _known(argument: Any) -> Any:
    return in_words(argument) if isinstance(argument, BaseException) else argument


def kind_of(kind: type[BaseException] | None) -> str:
    return kind.__name__ if kind is not None else "an exception"


def place_of(trace: TracebackType | None) -> str:
    """Where an exception was raised: " in FUNCTION, line N"."""
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f" in {trace.tb_frame.f_code.co_name}, line {trace.tb_lineno}" if trace is not None else ""


def ended_with(error: BaseException | None) -> str:
    """An exception in words: its kind and its place."""
    return f"{kind_of(type(error) if error is not None else None)}{place_of(getattr(error, '__traceback__', None))}"
