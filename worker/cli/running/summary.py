"""What `run`, `up` and `import` say besides the batch's state: why rows were rejected, which accounts are stopped,
which batches are left alone, and whether stopped ones may go on."""

import shlex
import sys
from collections.abc import Collection, Sequence
from typing import Any

import click

from onboarding_worker.cli.exits import CannotStart
from onboarding_worker.cli.shared_options import counting
from onboarding_worker.core.foundation.notation import are, counted, listed_in_words
from onboarding_worker.core.model.stops import is_at_cap, tries_again_by_itself
from onboarding_worker.core.rules.budgets import BudgetState
from onboarding_worker.core.rules.contact import following
from onboarding_worker.lists.decisions.store.decisions import Decisions
from onboarding_worker.lists.returned import ReturnedReport
from onboarding_worker.lists.store.batches import BatchFacts
from onboarding_worker.lists.warned import Refusals, Warned
from onboarding_worker.reporting.store.processes import kinds_at_work
from onboarding_worker.reporting.store.waiting import Unsent, unsent
from onboarding_worker.reporting.waits import stop_in_words
from onboarding_worker.wiring.container import Parts

MOST_REASONS = 3
SHOWN_CHANGES = 20


def deciding(parts: Parts, doing: str, batch: BatchFacts, *, of: str = "rows and messages") -> Decisions:
    """Decisions that show how far they are: a large batch takes seconds."""
    return parts.decisions.with_progress(counting(lambda number: f"{doing} batch {batch.id}: {number:,} {of}"))


def show_refusals(refusals: Refusals, batch: BatchFacts, *, of: str = "") -> None:
    """The commonest reasons for which rows were rejected; the report has those of each row. `of`: of which rows, if not
    of the whole list."""
    rows = f"{counted(refusals.rows, 'row')}{of}"
    click.echo(f"{rows} rejected (`onboard report {batch.id}` has each), mostly for:", err=True)
    for number, problem in refusals.top(MOST_REASONS):
        hint = f" ({problem.hint})" if problem.hint else ""
        click.echo(f"  {counted(number, 'row')}: {problem.named}{hint}", err=True)
    told = "`onboard check LIST --errors errors.csv` writes those that can be mended alone: correct and run that file"
    click.echo(f"  {told}", err=True)


def changed_in_words(rows: int) -> str:
    """How many rows change the address of a customer whose link may be with the person who has the old one."""
    return f"{counted(rows, 'row')} change{'s' * (rows == 1)} the address of a customer with a live link"


def show_warned(warned: Warned, name: str) -> None:
    """The first kinds of warnings of a list's rows, and how to see all."""
    kinds = warned.kinds
    for kind in kinds[:MOST_REASONS]:
        click.echo(f"warning: {kind.in_words}", err=True)
    if kinds:
        them = counted(warned.count, "warning")
        told = "`onboard check LIST --errors FILE` writes all, and those of rows that share an address"
        click.echo(f"{name}: {them} about rows; {told}", err=True)


def changes_in_words(report: ReturnedReport, known: int) -> list[str]:
    """The changed rows, and what became of them, or would become. `known`: the rows of known customers."""
    changes = report.changes
    shown = [f"  row {one.row}, {one.customer_id}: {one.what}" for one in changes[:SHOWN_CHANGES]]
    more = [f"  … and {len(changes) - SHOWN_CHANGES:,} more"] if len(changes) > SHOWN_CHANGES else []
    return [f"{counted(len(changes), 'changed row')}, {report.stored(known):,} as stored", *shown, *more]


def next_step(name: str, state: BudgetState) -> str:
    """What an operator does about the stopped account or sender `name`."""
    if is_at_cap(state.stop_reason):
        return f"raise `credits` of [accounts.{name}], and run again"
    if tries_again_by_itself(state.stop_reason):
        return "fix it and run again"
    return f"fix it, then `onboard account resume {name}`, and run again"


def stopped_in_words(parts: Parts, used: Collection[str]) -> dict[str, str]:
    """Why accounts and senders are stopped, and what to do. Accounts that share a budget are one entry, with those that
    the batch used."""
    states, found = parts.budgets.all(), dict[str, str]()
    for rule in parts.budget_rules.all().values():
        state, names = states[rule.name], [name for name in rule.names if name in used] or [*rule.names]
        if state.stopped_at:
            why = f"{stop_in_words(state).rstrip('.')}; {next_step(names[0], state)}"
            found[f"{listed_in_words(names)} {are(len(names))}"] = why
    return found


def channels_of(parts: Parts, batch: BatchFacts) -> set[str]:
    """The channels on which the rest of the batch may send messages."""
    counts = parts.facts.counts(batch.id)
    used = {*counts.to_come, *counts.unsent}
    return used.union(*(following(channel, parts.contact.fallbacks) for channel in used))


def paused_senders(parts: Parts) -> dict[str, str]:
    """Why senders are paused, by channel."""
    states, rules = parts.budgets.all(), parts.budget_rules.channels
    return {name: states[rule.name].pause_reason for name, rule in rules.items() if states[rule.name].pause_reason}


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
    why, command = "", run_list(batch) if batch.has_list else "onboard up"
    if batch.is_paused:
        why, command = f", {batch.pause_reason}", f"onboard resume {batch.id}"
    # A row with a message on each of two channels is out with the first of them.
    left = f"{counted(one.rows, 'row')} not sent" if one.rows else "further messages of invited rows not sent"
    return f"batch {batch.id} ({batch.name}): {left}{why}; `{command}`"


def run_list(batch: BatchFacts) -> str:
    """The command that works the batch's list again, as a shell reads it. The list's directory is not stored."""
    return f"onboard run {shlex.quote(batch.name)}"


def lift_stopped(parts: Parts, *, yes: bool) -> bool:
    """Go on with every batch that was stopped with Ctrl-C, if a person agrees; whether they did. Raises CannotStart if
    there is no terminal to ask on, and `yes` is not set."""
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
        deciding(parts, "resuming", one.batch).lift(one.batch.id, now=parts.clock())
    return True
