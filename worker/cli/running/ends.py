"""How a run ends: what an interrupted one leaves behind, what rows wait for, and the exit code."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import click
import sqlalchemy as sa

from onboarding_worker.cli.commands.status import paused_in_words, waiting_in_words
from onboarding_worker.cli.exits import INTERRUPTED, LATER, NEEDS_A_PERSON
from onboarding_worker.cli.opening import why_unusable
from onboarding_worker.cli.running.summary import deciding, paused_senders, run_list, stopped_in_words
from onboarding_worker.core.database import schema
from onboarding_worker.core.foundation.features import hint
from onboarding_worker.core.foundation.notation import counted, written
from onboarding_worker.core.model.reasons import meaning_of
from onboarding_worker.core.model.states import BatchState, JobState, LineState
from onboarding_worker.lists.store.batches import STDIN, BatchFacts
from onboarding_worker.reporting.batch_report import needs_a_person, rows_to_correct, until_a_person
from onboarding_worker.reporting.forecast import lost_answers, of_rest
from onboarding_worker.reporting.steps import step_for
from onboarding_worker.reporting.store.outlook import ended_calls, outlook_of, waiting_to_reconcile
from onboarding_worker.reporting.waits import Wait, rows_in_words, rows_wait
from onboarding_worker.runtime.batch_run import Stand, next_move
from onboarding_worker.wiring.container import Parts
from onboarding_worker.wiring.os_user import os_user


@contextmanager
def stopped_by_ctrl_c(parts: Parts) -> Iterator[list[BatchFacts]]:
    """Ctrl-C stops the batch also before its work has begun, and while it is imported. Filled with the batch."""
    opened: list[BatchFacts] = []
    try:
        yield opened
    except KeyboardInterrupt:
        if not opened:
            raise
        click.echo(stopped_at(parts, opened[0], Stand.INTERRUPTED), err=True)
        raise SystemExit(INTERRUPTED) from None


def stopped_at(parts: Parts, batch: BatchFacts, stand: Stand, *, is_own: bool = True) -> str:
    """What an interrupted run leaves behind, for people; "" if it was not interrupted. Ctrl-C also stops the batch.
    `is_own`: the same command goes on with it."""
    if stand not in (Stand.INTERRUPTED, Stand.TERMINATED):
        return ""
    try:
        counts = parts.facts.counts(batch.id)
        total, left = counts.total, counts.left
        is_imported = (parts.batches.find(str(batch.id)) or batch).imported_at is not None
        if is_imported and not left:
            return f"interrupted; {counts.out:,} of {total:,} are out, and nothing is left to send"
        if is_imported and stand is Stand.TERMINATED:
            again = "run the same command again to continue" if is_own else f"`{run_list(batch)}` continues"
            return f"ended at {counts.out:,} of {total:,}; {left:,} are left: {again}"
        deciding(parts, "stopping", batch).interrupt(batch.id, by=os_user().name, now=parts.clock())
        ends, again = f"`onboard cancel {batch.id}` ends them", f"`{run_list(batch)}`"
        if not is_imported:
            again = "`onboard run -` with the same list" if batch.name == STDIN else again
            rows = f"{counted(total, 'row')} in and {counts.out:,} out"
            return f"stopped in the middle of the import, {rows}; no more are sent until {again}; {ends}"
        counts = parts.facts.counts(batch.id)  # other workers sent until the stop
        again = f"{'' if batch.name == STDIN else f'{again} or '}`onboard resume {batch.id}`"
        return f"stopped at {counts.out:,} of {total:,}; {counts.left:,} will not be sent until {again}; {ends}"
    except sa.exc.OperationalError as error:
        click.echo(f"interrupted; {why_unusable(error)}", err=True)
        if stand is Stand.INTERRUPTED:
            pauses = f"`onboard pause {batch.id}` keeps them from that"
            click.echo(f"batch {batch.id} could not be stopped: workers that run go on with it; {pauses}", err=True)
        raise SystemExit(INTERRUPTED) from None


def notes_of(parts: Parts, batch: BatchFacts, stand: Stand, *, undone: Sequence[str], ended: str) -> list[str]:
    """What a person should know after a run, beside the batch's facts. `undone`: what features have left.
    `ended`: what an interrupted run leaves behind."""
    notes = [
        f"{lost_answers(calls, 0)}, of rows that have ended: looked up from {written(first)} on,"
        " by the next run or worker"
        for calls, first in ended_calls(parts.database, batch.id).values()
    ]
    notes += undone
    if ended:
        notes.append(ended)
    if stand is Stand.HALTED:
        why = halted.in_words if (halted := parts.emergency_stops.find()) else "everything was stopped"
        notes.append(f"{why}; `onboard resume --all`, and then the same command, go on")
    if stand is Stand.LATER:
        silent = paused_senders(parts)
        notes += [f"{name} does not work: {reason.rstrip('.')}" for name, reason in sorted(silent.items())]
    return notes


def to_correct(parts: Parts, batch_ids: Collection[int]) -> list[str]:
    """What of these batches, whose rows a report has changed, waits for a person once they are worked."""
    found = []
    for batch in filter(None, (parts.batches.find(str(number)) for number in sorted(batch_ids))):
        counts = parts.facts.counts(batch.id)
        facts = parts.reporting.status(batch, counts, with_sets=False)
        if said := rows_in_words(rows_to_correct(facts, counts.corrected), held=facts["rows"][JobState.HELD]):
            found.append(f"batch {batch.id} ({batch.name}): {said}; `onboard report {batch.id}` says why")
    return found


def until_when(parts: Parts, batch: BatchFacts, *, alone: bool) -> Wait | None:
    """Until when the rest waits, why, and what a person does then; None if it does not move by itself."""
    outlook = outlook_of(parts.database, batch.id, alone=alone)
    move = next_move(parts.budget_rules, parts.takeovers, outlook, batch.id, now=parts.clock())
    if move is None:
        return None
    outcomes = partial(waiting_to_reconcile, parts.database, batch.id)
    rest = of_rest(move.at, move.kept_by(now=parts.clock()), outcomes)
    said = rest.detail in paused_senders(parts).values()  # by `notes_of`
    in_trouble = move.state.unproven or move.state.opened_at is not None
    step = hint("doctor", "see what is wrong with `onboard doctor`, and ") if in_trouble else ""
    because = "" if said else f" ({rest.detail.rstrip('.') or f'`onboard report {batch.id}` says why'})"
    return rest._replace(detail=f"until {written(move.at)}{because}", action=f"{step}run again then")


def _why_later(facts: dict[str, Any], left: int, later: Wait | None) -> list[str]:
    """What the batch waits for, in lines for people."""
    waiting = rows_wait(left)
    if facts["state"] == BatchState.PAUSED:
        resumes = f"`onboard resume {facts['batch']}` resumes it"
        return [paused_in_words(facts), f"paused with {counted(left, 'row')} left; {resumes}"]
    if later is not None:
        waits = facts.get("waits", {}).items()
        first = ", the first" if left > 1 else ""  # the others may wait longer
        goes_on = f"{waiting}{first} {later.detail}; {later.action}"
        return [goes_on, *(f"  {waiting_in_words(reason, rows)}" for reason, rows in waits)]
    if kept := until_a_person(facts):
        batch = facts["batch"]
        steps = {reason: step_for(JobState.WAITING, reason, batch) for reason in kept}
        return [f"{rows_wait(rows)}: {meaning_of(reason)}; {steps[reason]}" for reason, rows in kept.items()]
    if left and facts.get("plan", {}).get("verdict") == "":
        by = facts["plan"]["verdict_by"]
        goes_on = "`onboard up`, workers, or the same command then, go on"
        return [f"{waiting} for the verdict on the pilot{f', by {by}' if by else ''}; {goes_on}"]
    if left:
        names = f"`onboard report {facts['batch']}` names it"
        return [f"{waiting} for another batch that has the same customers; {names}"]
    invited = facts["rows"]["invited"] + facts["rows"].get(LineState.JOINED, 0)
    unfinished = counted(invited, "customer has", "customers have")
    return [f"{unfinished} not finished; this command has nothing left to do"]


def exit_code(
    parts: Parts, batch: BatchFacts, stand: Stand, facts: dict[str, Any], later: Wait | None, missing: Sequence[Wait]
) -> int:
    """Say why the command ends, and return its exit code. `later`: from `until_when`. `missing`: what the rows need and
    the configuration does not have."""
    if stand in (Stand.INTERRUPTED, Stand.TERMINATED):
        return INTERRUPTED
    if stand is Stand.OUTDATED:
        click.echo(f"{schema.outdated(parts.database)}; the same command then continues with this list", err=True)
    if stand in (Stand.OUTDATED, Stand.HALTED):
        return NEEDS_A_PERSON
    if stand is Stand.STOPPED or any(account["stopped"] for account in facts["accounts"].values()):
        stopped = stopped_in_words(parts, {*facts["accounts"], *parts.channels})
        for names, reason in sorted(stopped.items()):
            click.echo(f"{names} stopped: {reason}", err=True)
    if stand in (Stand.LATER, Stand.STOPPED):
        for one in missing:
            click.echo(f"{one.name}: {one.detail}, and run again", err=True)
    left = parts.facts.counts(batch.id).left  # the rows that wait for their session or for their first message
    if stand is Stand.LATER and not 0 < left <= sum(one.rows for one in missing):
        for line in _why_later(facts, left, later):
            click.echo(line, err=True)
    if needs_a_person(facts) or (missing and stand is Stand.LATER):
        return NEEDS_A_PERSON
    return LATER if stand is Stand.LATER else NEEDS_A_PERSON if stand is Stand.STOPPED else 0
