"""What `run` and `up` say about batches that they leave alone, and whether they may go on with stopped ones."""

import shlex
import sys
from collections.abc import Collection, Sequence
from typing import Any

import click

from worker.cli.exits import CannotStart
from worker.cli.shared_options import counting_rows
from worker.core.foundation.notation import counted
from worker.lists.store.batches import STDIN, BatchFacts
from worker.reporting.operation import kinds_at_work
from worker.reporting.store.waiting import Unsent, unsent
from worker.wiring.container import Parts


def can_ask() -> bool:
    """Whether there is a terminal to ask on."""
    return bool(sys.stdin and sys.stdin.isatty())


def left_alone(parts: Parts, batch_id: int | None = None, *, worked: Collection[int] = ()) -> list[Unsent]:
    """The batches with rows that were not sent, without this batch. Those that are `worked`, here or by another
    process, only if they are paused."""
    now = parts.clock()
    others = [one for one in unsent(parts.database, now=now) if one.batch.id != batch_id]
    running = parts.processes.running(now=now) if others else []
    return [
        one
        for one in others
        if one.batch.is_paused or not (one.batch.id in worked or kinds_at_work(running, one.batch.id))
    ]


def as_facts(others: Sequence[Unsent]) -> list[dict[str, Any]]:
    """The batches that were left alone, as `run --json` prints them."""
    return [{"batch": one.batch.id, "name": one.batch.name, "waiting": one.rows} for one in others]


def in_words(one: Unsent) -> str:
    """One batch that is left alone, and the command that goes on with it."""
    batch = one.batch
    why = f", {batch.pause_reason}" if batch.is_paused else ""
    if batch.is_paused:
        command = f"onboard resume {batch.id}"
    else:
        command = "onboard up" if one.from_events or batch.name == STDIN else run_list(batch)
    # A row with a message on each of two channels is out with the first of them.
    left = f"{counted(one.rows, 'row')} not sent" if one.rows else "further messages of invited rows not sent"
    return f"batch {batch.id} ({batch.name}): {left}{why}; `{command}`"


def run_list(batch: BatchFacts) -> str:
    """The command that works the batch's list again, as a shell reads it. The list's directory is not stored."""
    return f"onboard run {shlex.quote(batch.name)}"


def how_to_go_on(batch: BatchFacts) -> str:
    """The commands that go on with a batch that was stopped with Ctrl-C."""
    by_list = "" if batch.name == STDIN else f"`{run_list(batch)}` or "
    return f"{by_list}`onboard resume {batch.id}`"


def how_to_import_the_rest(batch: BatchFacts) -> str:
    """The command that goes on with a list that is not imported to its end."""
    return "`onboard run -` with the same list" if batch.name == STDIN else f"`{run_list(batch)}`"


def lift_stopped(parts: Parts, *, yes: bool) -> bool:
    """Go on with every batch that was stopped with Ctrl-C, if a person agrees; whether they did.

    Raises CannotStart if there is no terminal to ask on, and `yes` is not set.
    """
    stopped = [one for one in left_alone(parts) if one.batch.is_stopped]
    if not stopped:
        return True
    for one in stopped:
        click.echo(in_words(one), err=True)
    if not yes:
        if not can_ask():
            raise CannotStart(
                "a person stopped these batches, and there is no terminal to ask on; give --yes to send them too"
            )
        if not click.confirm("send them too?", err=True):
            return False
    for one in stopped:
        parts.decisions.with_progress(counting_rows("resuming", one.batch.id)).lift(one.batch.id, now=parts.clock())
    return True
