"""The import of a list by a command: its progress, what keeps it from being worked, and what is said when SIGTERM ends
it.

`import_listed` is the whole of it: the rows that a report has changed, the child that judges, warnings, the batch.
"""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import click
import sqlalchemy as sa

from worker.cli.exits import INTERRUPTED, CannotStart, Ended, Stopped
from worker.cli.lists.listed import Listed, returns_of
from worker.cli.opening import with_hint
from worker.cli.running.summary import changed_in_words, show_changes, show_refusals, show_warned
from worker.cli.shared_options import counting, counting_rows
from worker.core.foundation.notation import counted
from worker.lists.importing.adopting import Adopts
from worker.lists.importing.judging import judging_child
from worker.lists.importing.list_import import CutOff, ImportChoices, Imported, import_list, list_age
from worker.lists.lines import Settles
from worker.lists.listing import open_list
from worker.lists.options import ListOptions
from worker.lists.store.batches import BatchFacts
from worker.reporting.operation import IMPORT
from worker.templates.checks import problems as problems_of_templates
from worker.wiring.container import Parts


class Terminated(Ended):
    """SIGTERM has ended the import."""

    exit_code = INTERRUPTED


class _Sigterm(KeyboardInterrupt):
    """Ends what is under way as Ctrl-C does, so that connections and the child that judges are closed."""


@contextmanager
def ended_by_sigterm(parts: Parts, *, again: bool) -> Iterator[Callable[[BatchFacts], None]]:
    """Raises Terminated where SIGTERM comes. Yields a function to call with the batch when that is open.

    The batch is not stopped, as it is by Ctrl-C: a service manager sends SIGTERM, and starts the command again.
    """
    opened: list[BatchFacts] = []

    def end(number: int, _frame: Any) -> None:
        signal.signal(number, before)  # a second one ends the process at once
        raise _Sigterm

    before = signal.getsignal(signal.SIGTERM)  # read first: the signal may come at once
    signal.signal(signal.SIGTERM, end)
    try:
        yield opened.append
    except _Sigterm:
        raise Terminated(_what_is_kept(parts, opened, again=again)) from None
    finally:
        signal.signal(signal.SIGTERM, before)


def _what_is_kept(parts: Parts, opened: list[BatchFacts], *, again: bool) -> str:
    if not opened:
        return "ended by SIGTERM before the import began: nothing was imported; run the same command again"
    (batch,) = opened
    try:
        rows = counted(sum(parts.facts.counts(batch.id).jobs.values()), "row")
    except sa.exc.OperationalError:  # the database is away: what it has committed stays all the same
        rows = "rows"
    without = " (without --again)" if again else ""
    return (
        f"ended by SIGTERM in the middle of the import: batch {batch.id} has {rows}, which stay, and running workers"
        f" send them\nthe same command{without} imports the rest; `onboard cancel {batch.id}` ends the batch"
    )


def refuse_what_cannot_work(parts: Parts) -> None:
    """Raises CannotStart with a line for each problem."""
    # With a template that cannot be rendered each row would be held, one by one.
    problems = [f"template: {problem}" for problem in problems_of_templates(parts.templates)]
    if problems:
        raise CannotStart("\n".join(problems))


def import_listed(
    parts: Parts,
    listed: Listed,
    options: ListOptions,
    choices: ImportChoices,
    *,
    lift: bool = False,
    opened: Callable[[BatchFacts], None] = lambda _batch: None,
    was_shown: bool = False,
    adopts: Adopts | None = None,
) -> tuple[Imported, Settles]:
    """Import the list. Returns what it became, and what became of the rows of a report.

    `lift`: its rows are to be sent now. A batch that a person stopped with Ctrl-C goes on, and a paused one is refused.
    `was_shown`: a person has seen the warnings. `adopts`: see `import_list`. Raises Terminated where SIGTERM comes.
    """
    began = time.monotonic()
    try:
        with ExitStack() as exits:
            note_batch = exits.enter_context(ended_by_sigterm(parts, again=choices.again))

            def open_(batch: BatchFacts) -> None:
                note_batch(batch)
                opened(batch)

            reading = open_list(listed.content, options)
            returns = returns_of(parts, options, listed.name, choices, reading)
            child = None
            if adopts is None:
                with parts.one_thread():
                    child = exits.enter_context(judging_child(parts.intake, parts.batches, listed.content, reading))
            exits.enter_context(parts.heartbeat(IMPORT))
            imported = import_list(
                parts.intake,
                parts.batches,
                listed.content,
                options,
                name=listed.name,
                choices=choices,
                returns=returns,
                adopts=adopts,
                reading=reading,
                child=child,
                opened=open_,
                progress=counting(lambda rows: f"importing: {counted(rows, 'row')}"),
            )
    except CutOff as error:
        without = " (without --again)" if choices.again else ""
        raise Stopped(
            f"the database could not be used for too long, the import is cut off: {with_hint(str(error))}\n"
            f"the imported rows stay; the same command{without} imports the rest"
        ) from None
    for warning in imported.warnings:
        click.echo(f"warning: {warning}", err=True)
    batch = imported.batch
    if over := is_over(batch):
        raise CannotStart(over)
    if lift:
        _lift(parts, batch)
    _say_what_it_became(parts, listed.name, imported, returns, seconds=time.monotonic() - began)
    if imported.changed:
        click.echo(changed_in_words(imported.changed), err=True)
    if not was_shown:
        show_warned(imported.warned, listed.name)
    if not lift and (paused := is_paused(batch)):
        click.echo(paused, err=True)
    return imported, returns


def _lift(parts: Parts, batch: BatchFacts) -> None:
    """Let the batch go on that a person stopped with Ctrl-C. Raises CannotStart if it is paused in another way."""
    decisions = parts.decisions.with_progress(counting_rows("resuming", batch.id))
    if batch.is_stopped:
        decisions.lift(batch.id, now=parts.clock())
        click.echo(f"batch {batch.id} was {batch.pause_reason}; it goes on", err=True)
    elif batch.changing_since is not None and decisions.lift(batch.id, now=parts.clock()).rows:
        click.echo(f"batch {batch.id}: a resume that was cut off is finished", err=True)
    elif paused := is_paused(batch):
        raise CannotStart(paused)


def _say_what_it_became(parts: Parts, name: str, imported: Imported, returns: Settles, *, seconds: float) -> None:
    batch, age = imported.batch, list_age(imported.batch, now=parts.clock())
    if imported.new:
        click.echo(f"batch {batch.id}: {name} imported in {seconds:.1f} s", err=True)
        if imported.refusals.rows:
            show_refusals(imported.refusals, batch)
        if imported.is_report:
            unchanged = parts.facts.counts(batch.id).known - returns.corrected
            show_changes(returns.changes, unchanged, err=True)
    elif batch.imported_at is None:
        before = f"the import of {name}, begun {age} ago, was not complete"
        click.echo(f"batch {batch.id}: {before}; the rest was imported in {seconds:.1f} s", err=True)
        if imported.refusals.rows:
            show_refusals(imported.refusals, batch, of=" of the rest")
    else:
        stay = ": rejected rows stay so" if parts.facts.counts(batch.id).rejected else ""
        continues = f"this list was imported {age} ago; continuing with it{stay} (--again: anew)"
        click.echo(f"batch {batch.id}: {continues}", err=True)


def is_over(batch: BatchFacts) -> str:
    """Why the batch of a list takes nothing more; "" if it may go on."""
    if batch.cancelled_at is not None:
        return f"batch {batch.id} of this list was cancelled; --again imports it anew"
    if batch.purged_at is not None:
        purged = f"batch {batch.id} of this list was purged on {batch.purged_at:%Y-%m-%d}"
        return f"{purged}; --again imports it anew, without customers who have finished"
    return ""


def is_paused(batch: BatchFacts) -> str:
    """Why the batch of a list waits for a person; "" if it is not paused."""
    if not batch.is_paused:
        return ""
    why = "has paused itself: " if batch.paused_itself else "is "
    return f"batch {batch.id} of this list {why}{batch.pause_reason}; `onboard resume {batch.id}` resumes it"


def refused_by_run(batch: BatchFacts | None) -> str:
    """Why `run` does not go on with the list of this batch; "" if it does. What Ctrl-C stopped goes on."""
    if batch is None:
        return ""
    return is_over(batch) or ("" if batch.is_stopped else is_paused(batch))


def changes_of(imported: Imported, returns: Settles) -> dict[str, Any]:
    """What a list or a report has changed of customers who were known, for `--json`."""
    changed = [{"row": one.row, "customer_id": one.customer_id, "what": one.what} for one in returns.changes]
    return {"changed_addresses": imported.changed, **({"changes": changed} if imported.is_report else {})}
