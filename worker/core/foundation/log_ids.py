"""The ids that log lines carry: which account, channel, target, batch and job a line is about. Never a customer's.

A block names what it works on, and each line that is written inside it has these ids, a library's line too. A line that
knows more says so itself: `log.info(…, extra={"job": 12})`.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from worker.core.foundation.foreign_lines import is_ours

Id = str | int
IDS = ("account", "channel", "target", "batch", "job")
_known: ContextVar[Mapping[str, Id]] = ContextVar("ids of log lines")


@contextmanager
def about(**ids: Id) -> Iterator[None]:
    """The lines of this block, and of the tasks that it starts, have these ids besides those of the block around it."""
    token = _known.set({**_known.get({}), **ids})
    try:
        yield
    finally:
        _known.reset(token)


def ids_of(record: logging.LogRecord) -> dict[str, Id]:
    """The ids of a line: those of its block, and of a line of ours those that it names itself."""
    named = record.__dict__ if is_ours(record) else {}
    found = {**_known.get({}), **{name: named[name] for name in IDS if name in named}}
    return {name: found[name] for name in IDS if name in found}
