"""Logging: ids, accounts, endings and seconds; never a name, address, token or link.

At debug: a line for each step, and of an exception each place on its way. At info: a line for each chunk that was
written, and for each step that failed; of what comes often, counts.

A library's line may hold whatever the library was given: a message's body, an exception's text, an address. So it is
written as it is only if its template is known to hold nothing personal. Of other warnings and errors the place and the
kind of the exception are left; other lines are not written. New lines of a library's next release are reduced too. So
is what Python itself would print: exceptions that end a thread or the process, exceptions that nothing can catch, and
warnings. asyncio writes an exception that a loop catches to its log.

The lines are made by structlog: text for people at a terminal, one JSON object a line for machines. Both have the same
facts, of our lines and of libraries' lines: time, level, logger, event, the ids that are known, and the exception's
kind. What a line is about: `core.foundation.logs`.
"""

import logging
import re
import sys
import threading
import traceback
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from onboarding_worker.core.foundation.connection_failures import in_words
from onboarding_worker.core.foundation.logs import ids_of, is_ours
from onboarding_worker.core.foundation.private_files import private_log

if TYPE_CHECKING:
    from structlog.dev import ConsoleRenderer, KeyValueColumnFormatter
    from structlog.types import EventDict

LEVELS = ("debug", "info", "warning", "error")
FORMS = ("auto", "text", "json")
log = logging.getLogger(__name__)


class _Form(logging.Formatter):
    def __init__(self, *, as_json: bool) -> None:
        super().__init__()
        self._as_json = as_json

    @cached_property
    def _lines(self) -> logging.Formatter:
        return line_form(as_json=self._as_json)

    def format(self, record: logging.LogRecord) -> str:
        return self._lines.format(reduced(record))


def set_up(level: str = "info", file: Path | None = None, form: str = "auto") -> None:
    """Send the log to a file, or to standard error. Raises OSError when the file cannot be written. `form` auto: text
    where a person reads it, at a terminal; JSON otherwise."""
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
        sys.unraisablehook = lambda what: log.error("an exception was ignored: %s", ended_with(what.exc_value))
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _process_ends


def _thread_ended(ended: threading.ExceptHookArgs) -> None:
    if ended.exc_type is not SystemExit:
        log.error("a thread ended with %s", ended_with(ended.exc_value))


def _process_ends(kind: type[BaseException], error: BaseException, _trace: Any) -> None:
    if not issubclass(kind, KeyboardInterrupt):
        log.critical("the process ends with %s", ended_with(error))


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
        safe.args = tuple(in_words(one) if isinstance(one, BaseException) else one for one in record.args)
    elif isinstance(record.args, dict) and "exc" in record.args and isinstance(record.exc_info, tuple):
        safe.msg, safe.args = TASK, (str(record.args.get("name")), kind_of(record.exc_info[0]))
    elif record.name == "py.warnings" and (found := _WARNING.match(record.getMessage())):
        safe.msg, safe.args = "%s at %s:%s; its text may hold personal data", (found[3], found[1], found[2])
    else:
        safe.msg = "a line of %s, line %d, is left out: it may hold personal data"
        safe.args = (record.module, record.lineno)
    return safe


def line_form(*, as_json: bool) -> logging.Formatter:
    """Makes lines of one form. Of an exception its kind and its place are written, never its text. structlog is loaded
    with the first line: it takes a quarter of a second."""
    import orjson
    from structlog.processors import JSONRenderer
    from structlog.stdlib import ProcessorFormatter

    json = lambda line, **_options: orjson.dumps(line, default=str).decode()  # noqa: E731
    form = JSONRenderer(serializer=json) if as_json else _text()
    steps = [ProcessorFormatter.remove_processors_meta, _with_exception, form]
    return ProcessorFormatter(foreign_pre_chain=[_facts], processors=steps)


def _facts(_logger: Any, level: str, line: "EventDict") -> "EventDict":
    record: logging.LogRecord = line["_record"]
    at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    facts = {"timestamp": at.replace("+00:00", "Z"), "level": level, "logger": record.name, **ids_of(record), **line}
    # A name or a reason from outside must not look like a line of its own, nor move a terminal's cursor.
    return {name: one_line(value) if type(value) is str else value for name, value in facts.items()}


def _with_exception(_logger: Any, _level: str, line: "EventDict") -> "EventDict":
    raised = line.pop("exc_info", None)
    line.pop("stack_info", None)
    if isinstance(raised, tuple) and raised[0] is not None:
        whole = logging.getLogger().isEnabledFor(logging.DEBUG)
        line["exception"] = f"{kind_of(raised[0])}{place_of(raised[2], whole=whole)}"
    return line


def _text() -> "ConsoleRenderer":
    """`TIME LEVEL logger: event  [account=kyc job=12]`, without colours: a log may be copied from anywhere."""
    from structlog.dev import Column, ConsoleRenderer, KeyValueColumnFormatter

    def plain(after: str = "", width: int = 0) -> "KeyValueColumnFormatter":
        return KeyValueColumnFormatter(None, "", "", value_repr=str, width=width, postfix=after)

    columns = [
        Column("timestamp", plain()),
        Column("level", plain(width=8)),
        Column("logger", plain(after=":")),
        Column("event", plain()),
        Column("", KeyValueColumnFormatter("", "", "", value_repr=str)),
    ]
    return ConsoleRenderer(columns=columns, sort_keys=False, pad_level=False)


def one_line(text: str) -> str:
    """The text as one line: control characters, line breaks and marks that reverse text are written as escapes."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text.rstrip("\n"))


def kind_of(kind: type[BaseException] | None) -> str:
    return kind.__name__ if kind is not None else "an exception"


def place_of(trace: TracebackType | None, *, whole: bool = False) -> str:
    """Where an exception was raised: " in FUNCTION, line N". `whole`: each place on its way, with its file."""
    passed = [(frame.f_code, line) for frame, line in traceback.walk_tb(trace)]
    if whole:
        return ",".join(f" in {Path(code.co_filename).stem}.{code.co_name}, line {line}" for code, line in passed)
    return "".join(f" in {code.co_name}, line {line}" for code, line in passed[-1:])


def ended_with(error: BaseException | None) -> str:
    """An exception in words: its kind and its place."""
    return f"{kind_of(type(error) if error is not None else None)}{place_of(getattr(error, '__traceback__', None))}"
