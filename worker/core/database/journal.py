"""A file beside the database: who asked for no more messages, and who was erased.

The database may be replaced by an older copy of itself, and what happened since is then known here alone. A line is
JSON and holds a keyed digest, never an address or an id. How far the database had come is a file next to it, replaced
each time (`reporting.store.restored`): so the journal grows by what people ask for, and by nothing else.
"""

import fcntl
import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar

import sqlalchemy as sa
from pydantic import AwareDatetime, StringConstraints, TypeAdapter

from onboarding_worker.core.database.fast import tally
from onboarding_worker.core.foundation.clock import Clock
from onboarding_worker.core.foundation.private_files import to_append, to_disk
from onboarding_worker.core.model.channels import SuppressionReason
from onboarding_worker.core.model.customers import Channel

log = logging.getLogger(__name__)

JOURNAL = "onboarding_journal"  # the execution option of a connection whose database has one
LONGEST = 1000  # bytes of a line: none of ours is longer
Kind = TypeVar("Kind")
Digest = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]


class Happened(StrEnum):
    SUPPRESSED = "suppressed"
    LIFTED = "lifted"  # the address may be written to again
    ERASED = "erased"
    BROUGHT_BACK = "brought back"  # an erased customer


# What leaves a person alone is noted before the commit: a crash in between leaves one note too many, about somebody who
# has asked for it. What ends that is noted after the commit: a crash in between leaves a person alone for longer.
LEAVES_ALONE = frozenset({Happened.SUPPRESSED, Happened.ERASED})


@dataclass(frozen=True)
class Note:
    """`digest`: of the address, or of the customer's id. `as_of`, `final`: of an erasure, see `Tombstone`."""

    what: Happened
    digest: Digest
    at: AwareDatetime
    channel: Channel | None = None
    reason: SuppressionReason | None = None
    as_of: AwareDatetime | None = None
    final: bool = False

    def __post_init__(self) -> None:
        if None in {Happened.SUPPRESSED: (self.channel, self.reason), Happened.ERASED: (self.as_of,)}.get(
            self.what, ()
        ):
            raise ValueError("the note lacks what it is about")


@cache  # made when a journal is first used: most installations have none
def form(kind: type[Kind]) -> TypeAdapter[Kind]:
    return TypeAdapter(kind)


class Journal:
    """Several processes may write the same file: each line is written whole, and is on the disk before they go on."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path, self.clock = path, clock

    def add(self, notes: Iterable[Note]) -> None:
        """What was asked for is done although the journal's disk is full: an error is logged, and nothing raised."""
        lines = b"".join(form(Note).dump_json(note) + b"\n" for note in notes)
        if not lines:
            return
        try:
            descriptor = to_append(self.path)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                end = os.lseek(descriptor, 0, os.SEEK_END)
                # A line that was cut off, by a full disk or a power cut, must not swallow the next one.
                if end and os.pread(descriptor, 1, end - 1) != b"\n":
                    lines = b"\n" + lines
                while lines:
                    lines = lines[os.write(descriptor, lines) :]
                os.fsync(descriptor)
                if not end:
                    to_disk(self.path.parent)
            finally:
                os.close(descriptor)
        except OSError as error:
            log.error("the journal cannot be written, so a restore will not know what was asked: %s", error.strerror)


def note(connection: sa.Connection, what: Happened, digests: Sequence[str], **more: Any) -> None:
    """Note what the connection's transaction does, if its database has a journal. `more`: as in `Note`."""
    options = connection.get_execution_options()
    journal: Journal | None = options.get(JOURNAL)
    if journal is None:
        return
    notes = [Note(what, digest, journal.clock(), **more) for digest in digests]
    counts: tally.Tally | None = options.get(tally.OPTION)
    if counts is None:  # a caller's own transaction, whose commit is not known here
        journal.add(notes)
    elif what in LEAVES_ALONE:
        counts.noted += notes
    else:
        counts.committed.append(lambda: journal.add(notes))


def read(path: Path) -> tuple[list[Note], int]:
    """The notes of a journal, and how many lines are damaged: none of ours, or not all of one. Raises OSError."""
    notes, damaged = [], 0
    with path.open("rb") as stream:
        while line := stream.readline(LONGEST):
            try:
                notes.append(form(Note).validate_json(line))
            except ValueError:
                damaged += line != b"\n"
    return notes, damaged
