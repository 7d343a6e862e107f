"""`onboard run` and `onboard import`: import a list and send its invitations."""

import asyncio
import json
import signal
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import click

from worker.cli.commands.status import show_status, waiting_in_words
from worker.cli.exits import INTERRUPTED, LATER, NEEDS_A_PERSON, CannotStart, Stopped
from worker.cli.invocation import Invocation
from worker.cli.list_options import LIST_HELP, Listed, list_options, refusing_lists
from worker.cli.progress import Progress, open_progress
from worker.domain.intake import ListOptions
from worker.domain.limits.budgets import BudgetState
from worker.domain.model.states import BatchState
from worker.engine.container import Parts
from worker.engine.key_check import check_keys
from worker.engine.reporting.batch_report import needs_a_person, state_of
from worker.foundation.timestamps import written
from worker.inbound.list_import import CutOff, Imported, import_list, list_age
from worker.publishers.build import build_targets
from worker.runtime.batch_run import OneBatch, Stand, next_move
from worker.runtime.embedded import AlreadyWorking, Embedded, sole_worker
from worker.settings import SettingsError, parse_duration
from worker.store.base import schema
from worker.store.onboarding.batches import BatchFacts
from worker.store.operators.counts import BatchCounts

AGAIN = click.option("--again", is_flag=True, help="Make a new batch, even if this list was imported before.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print the facts as one JSON document.")


class Duration(click.ParamType[timedelta]):
    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        try:
            return parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command(
    help=f"Import LIST and send its invitations, in this process.\n{LIST_HELP}"
    "Safe to interrupt and to run again: the same list continues where it stopped. On SQLite only one such process"
    " can work at a time; on PostgreSQL it works in parallel with other workers.\n\n"
    "Exit codes: 0 all done; 1 rows were rejected, failed or are held, or an account is stopped; 2 could not start;"
    " 3 rows wait until later; 130 interrupted."
)
@list_options
@click.option(
    "--until",
    type=click.Choice(["sent", "finished"]),
    default="sent",
    show_default=True,
    help="sent: work until each row's first invitation is sent. finished: work until each row has ended. Both end"
    " earlier if no row can go on within --patience.",
)
@click.option(
    "--patience",
    type=Duration(),
    default="10 minutes",
    show_default=True,
    help="How long to wait for rows that cannot go on now, before ending with code 3: 90s, 10 minutes, 2h.",
)
@AGAIN
@JSON
@click.pass_obj
def run(
    invocation: Invocation,
    listed: Listed,
    options: Callable[[Parts], ListOptions],
    strict: bool,
    until: str,
    patience: timedelta,
    again: bool,
    as_json: bool,
) -> None:
    with invocation.parts(migrate=True) as parts:
        refuse_what_cannot_work(parts)
        try:
            with sole_worker(parts), refusing_lists():
                imported = _import(parts, listed, options(parts), again=again, strict=strict)
                parts.resume()
                stand, unpublished = _work(parts, imported.batch, until=until, patience=patience)
        except AlreadyWorking as error:
            raise CannotStart(str(error)) from None
        batch = parts.batches.find(str(imported.batch.id)) or imported.batch
        facts = parts.reporting.status(batch)
        if as_json:
            click.echo(json.dumps(facts, ensure_ascii=False))
        else:
            show_status(facts)
            click.echo(f"each row: onboard report {batch.id} --out report.csv")
        move = _next_move(parts, batch) if stand is Stand.LATER else None
        next_due = move[0] if move is not None else None
        stopped = _stopped(parts)
        outdated = schema.outdated(parts.database) if stand is Stand.OUTDATED else None
    if unpublished:
        click.echo(
            f"{unpublished:,} outgoing events have not been delivered yet; `onboard outbox list` says why", err=True
        )
    raise SystemExit(_exit_code(stand, facts, next_due, stopped, outdated))


def _stopped(parts: Parts) -> dict[str, str]:
    """Why accounts and senders are stopped, by name."""
    states = parts.budgets.all()
    rules = parts.budget_rules.all()
    return {name: states[rule.name].stop_reason for name, rule in rules.items() if states[rule.name].stopped_at}


def _next_move(parts: Parts, batch: BatchFacts) -> tuple[datetime, BudgetState] | None:
    outlook = parts.facts.outlook(batch.id)
    return next_move(parts.budget_rules, parts.takeovers, outlook, batch.id, now=parts.clock())


def _exit_code(
    stand: Stand, facts: dict[str, Any], next_due: datetime | None, stopped: dict[str, str], outdated: str | None
) -> int:
    if stand is Stand.INTERRUPTED:
        click.echo("interrupted; run the same command again to continue", err=True)
        return INTERRUPTED
    if stand is Stand.OUTDATED:
        click.echo(f"{outdated}; the same command then continues with this list", err=True)
        return NEEDS_A_PERSON
    if stand is Stand.STOPPED or any(account["stopped"] for account in facts["accounts"].values()):
        for name, reason in sorted(stopped.items()):
            click.echo(f"{name} is stopped: {reason.rstrip('.')}; fix it and run again", err=True)
    if stand is Stand.LATER:
        left = facts["rows"]["waiting"] + facts["rows"]["issued"]
        if facts["state"] == BatchState.PAUSED:
            why = f"the batch paused itself: {facts['pause_reason']}\n" if "pause_reason" in facts else ""
            resumes = f"`onboard resume {facts['batch']}` resumes it"
            click.echo(f"{why}paused with {left:,} rows left; {resumes}", err=True)
        elif next_due is not None:
            click.echo(f"{left:,} rows wait until {written(next_due)}; run again then", err=True)
            for reason, waits in facts.get("waits", {}).items():
                click.echo(f"  {waiting_in_words(reason, waits)}", err=True)
        elif left:
            click.echo(f"{left:,} rows wait for a paused batch that has the same customers", err=True)
        else:
            click.echo(
                f"{facts['rows']['invited']:,} customers have not finished; this command has nothing left to do",
                err=True,
            )
    if needs_a_person(facts):
        return NEEDS_A_PERSON
    return LATER if stand is Stand.LATER else NEEDS_A_PERSON if stand is Stand.STOPPED else 0


@click.command(
    "import",
    help=f"Import LIST only; running workers (`onboard worker`, `onboard up`) send its invitations.\n{LIST_HELP}"
    "The same list again is the same batch: the import continues where it was cut off, or changes nothing.\n\n"
    "Exit codes: 0 all rows were accepted; 1 rows were rejected, the others are imported; 2 could not start.",
)
@list_options
@AGAIN
@JSON
@click.pass_obj
def import_(
    invocation: Invocation,
    listed: Listed,
    options: Callable[[Parts], ListOptions],
    strict: bool,
    again: bool,
    as_json: bool,
) -> None:
    with invocation.parts(migrate=True) as parts, refusing_lists():
        refuse_what_cannot_work(parts)
        imported = _import(parts, listed, options(parts), again=again, strict=strict)
        batch = parts.batches.find(str(imported.batch.id)) or imported.batch
        facts = parts.reporting.status(batch)
    if as_json:
        click.echo(json.dumps(facts, ensure_ascii=False))
    else:
        show_status(facts)
    raise SystemExit(NEEDS_A_PERSON if facts["rows"]["rejected"] else 0)


def refuse_what_cannot_work(parts: Parts) -> None:
    """Raises CannotStart with a line for each problem."""
    # With a template that cannot be rendered, or keys that decrypt nothing, each row would be held, one by one.
    problems = [f"template: {problem}" for problem in parts.templates.problems()]
    try:
        build_targets(parts.settings)
        check_keys(parts.database, parts.keyring)
    except SettingsError as error:
        problems += error.problems
    if problems:
        raise CannotStart("\n".join(problems))


def _import(parts: Parts, listed: Listed, options: ListOptions, *, again: bool, strict: bool) -> Imported:
    began = time.monotonic()
    shown_at = began

    def show(rows: int) -> None:
        nonlocal shown_at
        if time.monotonic() - shown_at >= 1:
            shown_at = time.monotonic()
            click.echo(f"importing: {rows:,} rows", err=True)

    try:
        imported = import_list(
            parts.intake,
            parts.batches,
            listed.content,
            options,
            name=listed.name,
            again=again,
            strict=strict,
            progress=show,
        )
    except CutOff as error:
        without = " (without --again)" if again else ""
        raise Stopped(
            f"the database could not be reached for too long, the import is cut off: {error}\n"
            f"the imported rows stay; the same command{without} imports the rest"
        ) from None
    batch = imported.batch
    if batch.cancelled_at is not None:
        raise CannotStart(f"batch {batch.id} of this list was cancelled; --again imports it anew")
    if batch.purged_at is not None:
        purged = f"batch {batch.id} of this list was purged on {batch.purged_at:%Y-%m-%d}"
        raise CannotStart(f"{purged}; --again imports it anew, without customers who have finished")
    if batch.is_paused:
        why = f"has paused itself: {batch.pause_reason}" if batch.pause_reason else "is paused"
        raise CannotStart(f"batch {batch.id} of this list {why}; `onboard resume {batch.id}` resumes it")
    if imported.new:
        click.echo(f"batch {batch.id}: {listed.name} imported in {time.monotonic() - began:.1f} s", err=True)
    else:
        age = list_age(batch, now=parts.clock())
        continues = f"this list was imported {age} ago; continuing with it (--again makes a new batch)"
        click.echo(f"batch {batch.id}: {continues}", err=True)
    return imported


def _work(parts: Parts, batch: BatchFacts, *, until: str, patience: timedelta) -> tuple[Stand, int]:
    """Why the work ended, and how many events were not published."""
    targets = build_targets(parts.settings)

    def is_done(counts: BatchCounts) -> bool:
        current = parts.batches.find(str(batch.id)) or batch  # it may be paused or cancelled meanwhile
        state = state_of(current, counts)
        return state in (BatchState.FINISHED, BatchState.CANCELLED) or (until == "sent" and state is BatchState.SENT)

    async def work(progress: Progress) -> tuple[Stand, int]:
        embedded = Embedded(parts, targets)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, embedded.interrupt)
        one = OneBatch(
            embedded,
            batch.id,
            facts=parts.facts,
            rules=parts.budget_rules,
            takeovers=parts.takeovers,
            clock=parts.clock,
            is_done=is_done,
            patience=patience,
            show=progress.show,
        )
        return await one.work(), one.unpublished

    with open_progress() as progress:
        return asyncio.run(work(progress))
