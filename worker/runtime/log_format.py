"""The form of a log line, by structlog: text for people at a terminal, one JSON object a line for machines.

Both forms have the same facts, of our lines and of libraries' lines: time, level, logger, event, the ids that are
known, and the exception's kind. `logs` decides before what is left of a library's line.
"""

import logging
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog
from structlog.dev import Column, ConsoleRenderer, KeyValueColumnFormatter
from structlog.stdlib import ProcessorFormatter
from structlog.types import EventDict

from worker.core.foundation.logs import ids_of
from worker.runtime.logs import kind_of, one_line, place_of


def line_form(*, as_json: bool) -> logging.Formatter:
    """Makes lines of one form. Of an exception its kind and its place are written, never its text."""
    json = lambda line, **_options: orjson.dumps(line, default=str).decode()  # noqa: E731
    form = structlog.processors.JSONRenderer(serializer=json) if as_json else _text()
    steps = [ProcessorFormatter.remove_processors_meta, _ended_with, form]
    return ProcessorFormatter(foreign_pre_chain=[_facts], processors=steps)


def _facts(_logger: Any, level: str, line: EventDict) -> EventDict:
    record: logging.LogRecord = line["_record"]
    at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    facts = {
        "timestamp": at.replace("+00:00", "Z"),
        "level": level,
        "logger": record.name,
        **ids_of(record),
        **line,
    }
    # A name or a reason from outside must not look like a line of its own, nor move a terminal's cursor.
    return {name: one_line(value) if type(value) is str else value for name, value in facts.items()}


def _ended_with(_logger: Any, _level: str, line: EventDict) -> EventDict:
    raised = line.pop("exc_info", None)
    line.pop("stack_info", None)
    if isinstance(raised, tuple) and raised[0] is not None:
        line["exception"] = f"{kind_of(raised[0])}{place_of(raised[2])}"
    return line


def _text() -> ConsoleRenderer:
    """`TIME LEVEL logger: event  [account=kyc job=12]`, without colours: a log may be copied from anywhere."""

    def plain(before: str = "", after: str = "", width: int = 0) -> KeyValueColumnFormatter:
        return KeyValueColumnFormatter(None, "", "", value_repr=str, width=width, prefix=before, postfix=after)

    named = KeyValueColumnFormatter("", "", "", value_repr=str)
    columns = [
        Column("timestamp", plain()),
        Column("level", plain(width=8)),
        Column("logger", plain(after=":")),
        Column("event", plain()),
        Column("", named),
    ]
    return ConsoleRenderer(columns=columns, sort_keys=False, pad_level=False)
