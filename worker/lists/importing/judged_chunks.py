"""A list in chunks of judged lines: made in this process, or in a child of it while this process stores them.

The child reads, judges and seals a large list on a core of its own. Both make their chunks by `chunks`: a list
becomes the same rows wherever it is judged.
"""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice

from worker.core.customers.customers import FieldProblem
from worker.core.customers.store.batches import Batches
from worker.core.customers.store.new_rows import AcceptedLine, Lines, RefusedLine
from worker.core.messages.quiet_hours import Hours
from worker.lists.formats.opening import Content
from worker.lists.importing.forked import ChildEnded, Forked, forked
from worker.lists.importing.intake import Intake
from worker.lists.importing.judging import judge_chunk
from worker.lists.lines import Line
from worker.lists.listing import CustomerList
from worker.lists.warned import Warned, warned_of
from worker.plans.deadlines import RowTimes, group_of

log = logging.getLogger(__name__)
LARGE = 500_000  # bytes of a list, some 5,000 rows: a smaller one is stored in one or two transactions


@dataclass
class Chunk:
    """Lines that are stored together. `done`: the lines of the list up to here. `last`: the row of the last of them.
    `hint`: `CustomerList.hint` up to here. `warned`: the warnings of its lines."""

    done: int = 0
    last: int = 0
    accepted: Lines = ()
    refused: list[RefusedLine] = field(default_factory=list)
    hint: FieldProblem | None = None
    warned: Warned = field(default_factory=Warned)
    late: list[RefusedLine] = field(default_factory=list)  # refused when they were stored
    changed: int = 0  # lines that changed the address of a customer with a live link


def chunks(
    judged: Callable[[Sequence[Line]], list[AcceptedLine | RefusedLine]],
    reading: CustomerList,
    hours: Hours,
    seal: Callable[[Sequence[AcceptedLine]], Lines],
    after: int,
    *,
    size: int,
    times: RowTimes | None = None,
) -> Iterator[Chunk]:
    """The list's lines behind the row `after`, judged, so many together; the last chunk may be empty."""
    lines = iter(reading)
    done = 0
    while some := list(islice(lines, size)):
        done, last = done + len(some), some[-1].row
        if times is None:
            found = judged([line for line in some if line.row > after])
        else:  # of imported rows too: each takes its place in the plan
            found = [line for line in _planned(judged(some), times, hours) if line.row > after]
        accepted = [line for line in found if isinstance(line, AcceptedLine)]
        refused = [line for line in found if isinstance(line, RefusedLine)]
        warned = warned_of((line.row, warning) for line in found for warning in line.warnings)
        yield Chunk(done, last, seal(accepted), refused, reading.hint, warned)
    if not done:
        yield Chunk()


def _planned(
    found: Sequence[AcceptedLine | RefusedLine], times: RowTimes, hours: Hours
) -> Iterator[AcceptedLine | RefusedLine]:
    """The lines with the times at which they go."""
    for line in found:
        if isinstance(line, AcceptedLine):
            at, _ = times.next(group_of(line, hours))
            line = replace(line, planned_at=at)
        yield line


@contextmanager
def judging_child(
    intake: Intake, batches: Batches, content: Content, reading: CustomerList
) -> Iterator[Forked[Chunk] | None]:
    """A process that makes the chunks of the list `reading`, while this one stores them; None where it does not pay or
    cannot be made. Begin it before any thread. `content` is what was opened."""
    size = os.path.getsize(content) if isinstance(content, str | os.PathLike) and os.path.exists(content) else 0
    if size < LARGE:
        yield None
        return

    def made(batch_id: int, after: int) -> Iterator[Chunk]:
        judged = partial(judge_chunk, intake, returns=None)
        seal, size = batches.sealer(batch_id), batches.lines_at_once
        yield from chunks(judged, reading, intake.hours, seal, after, size=size)

    with forked(made) as child:
        yield child


def of_child_or_here(
    child: Forked[Chunk] | None, here: Callable[[int], Iterator[Chunk]], batch_id: int, after: int
) -> Iterator[Chunk]:
    """The chunks behind the row `after`: the child's; and from `here` what it does not come to, or all without one."""
    if child is not None:
        try:
            for chunk in child.items(batch_id, after):
                after = max(after, chunk.last)
                yield chunk
            return
        except ChildEnded as error:
            log.warning("the import goes on in one process: %s", error)
    yield from here(after)
