"""`onboard run` and `onboard import`: import a list and send its invitations."""

import asyncio
import json
import signal
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from typing import Any

import click
import sqlalchemy as sa

from worker.cli.commands.status import paused_in_words, show_status, waiting_in_words
from worker.cli.exits import INTERRUPTED, LATER, NEEDS_A_PERSON, CannotStart, Stopped
from worker.cli.invocation import Invocation
from worker.cli.lists.options import LIST_HELP, Listed, list_options, refusing_lists, returns_of
from worker.cli.opening import does_not_answer, with_hint
from worker.cli.other_batches import (
    as_facts,
    can_ask,
    how_to_go_on,
    how_to_import_the_rest,
    in_words,
    left_alone,
    lift_stopped,
)
from worker.cli.plan_options import plan_options
from worker.cli.progress import Progress, open_progress
from worker.cli.run_summary import channels_of, paused_senders, show_changes, show_refusals, stopped_in_words
from worker.domain.intake import ListOptions
from worker.domain.limits.budgets import BudgetState
from worker.domain.model.known_customers import Known
from worker.domain.model.needs import STORED, Need
from worker.domain.model.operation import IMPORT
from worker.domain.model.reconciliation import lost_answers
from worker.domain.model.states import BatchState
from worker.engine.container import Parts
from worker.engine.key_check import check_keys
from worker.engine.reporting.batch_report import needs_a_person, state_of
from worker.engine.steps.policies import buys_on_click
from worker.foundation import event_loop
from worker.foundation.log_ids import about
from worker.foundation.os_user import os_user
from worker.foundation.plural import counted
from worker.foundation.timestamps import written
from worker.inbound.judged_chunks import judging_child
from worker.inbound.list_import import CutOff, Imported, import_list, list_age
from worker.inbound.returned_lists import Returns
from worker.publishers.build import build_targets
from worker.runtime.batch_run import OneBatch, Stand, Unusable, next_move
from worker.runtime.embedded import AlreadyWorking, Embedded, sole_worker
from worker.settings import SettingsError, parse_duration
from worker.store.base import schema
from worker.store.onboarding.batches import BatchFacts
from worker.store.onboarding.plans import OtherPlan, Plan
from worker.store.operators.counts import BatchCounts

AGAIN = click.option(
    "--again",
    is_flag=True,
    help="Make a new batch, even if this list was imported before. An import that was cut off goes on first.",
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print the facts as one JSON document.")


def _check_instead(_context: click.Context, _parameter: click.Parameter, asked: bool) -> None:
    if asked:
        raise click.UsageError("`onboard check LIST` is the dry run: it sends nothing and imports nothing")


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
    "On a terminal it shows what would leave, with the first message and the cost, and asks; a list that has begun to"
    " leave goes on without a question. Without a terminal it does not ask.\n\n"
    "Works this list alone: names other batches with rows that were not sent, and skips them. Safe to interrupt:"
    " after Ctrl-C no worker sends the rest until you run the same list again, or `onboard resume` it. On SQLite only"
    " one such process can work at a time; on PostgreSQL it works in parallel with other workers.\n\n"
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
    help="How long to wait for rows that cannot go on now, before ending with code 3: 90s, 10 minutes, 2h. After"
    " as long without a database that can be written, it ends with code 1.",
)
@AGAIN
@plan_options
@click.option("--all", "every", is_flag=True, help="Until this list is done, also work the other batches and events.")
@click.option(
    "--yes",
    is_flag=True,
    help="Send without showing what would leave and asking. With --all: also batches that were stopped with Ctrl-C.",
)
@JSON
@click.option("--dry-run", is_flag=True, hidden=True, expose_value=False, is_eager=True, callback=_check_instead)
@click.pass_obj
def run(
    invocation: Invocation,
    listed: Listed,
    options: Callable[[Parts], ListOptions],
    rule: Callable[[Parts], Known],
    strict: bool,
    allow_erased: bool,
    until: str,
    patience: timedelta,
    again: bool,
    plan: Plan | None,
    every: bool,
    yes: bool,
    as_json: bool,
) -> None:
    with invocation.parts(migrate=True) as parts:
        refuse_what_cannot_work(parts)
        if stopped_by := parts.standstills.find():
            raise CannotStart(f"{stopped_by.in_words}; `onboard resume --all` goes on")
        asked = options(parts)
        if not yes and can_ask():
            with refusing_lists():
                _approve(parts, listed, asked, rule=rule(parts), plan=plan, again=again, allow_erased=allow_erased)
        try:
            with sole_worker(parts, "run"), _stopped_by_ctrl_c(parts) as opened, refusing_lists():
                if every:
                    lift_stopped(parts, yes=yes)
                imported, returns = _import(
                    parts,
                    listed,
                    asked,
                    again=again,
                    strict=strict,
                    allow_erased=allow_erased,
                    plan=plan,
                    rule=rule(parts),
                    lift=True,
                    opened=opened.append,
                )
                others = [] if every else left_alone(parts, imported.batch.id)
                for one in others:
                    click.echo(f"left alone: {in_words(one)}", err=True)
                parts.resume(None if every else channels_of(parts, imported.batch))
                alone = None if every else imported.batch.id
                with about(batch=imported.batch.id), parts.heartbeat("run", batch_id=alone):
                    ended_early = _send_corrected(parts, returns.batches, until=until, patience=patience)
                    stand, unpublished = (
                        (ended_early, 0)
                        if ended_early is not None
                        else _work(parts, imported.batch, until=until, patience=patience, alone=not every)
                    )
                ended = _stopped_at(parts, imported.batch, stand)
        except AlreadyWorking as error:
            raise CannotStart(str(error)) from None
        except Unusable as error:
            raise Stopped(
                f"the database could not be used for longer than --patience: {with_hint(str(error))}\n"
                "what is written stays; the same command goes on, and finds out about calls whose results are lost"
            ) from None
        batch = parts.batches.find(str(imported.batch.id)) or imported.batch
        facts = parts.reporting.status(batch)
        if as_json:
            facts |= _changes(imported, returns)
            click.echo(json.dumps(facts | {"left_alone": as_facts(others)}, ensure_ascii=False))
        else:
            show_status(facts)
            click.echo(f"each row: onboard report {batch.id} --out report.csv")
        move = _next_move(parts, batch, alone=not every) if stand is Stand.LATER else None
        next_due = move[0] if move is not None else None
        look_ups = [
            f"{lost_answers(calls, 0)}, of rows that have ended: looked up from {written(first)} on, by the next run or"
            " worker"
            for calls, first in parts.facts.ended_calls(batch.id).values()
        ]
        stopped = stopped_in_words(parts, {*facts["accounts"], *parts.channels})
        silent = paused_senders(parts)
        outdated = schema.outdated(parts.database) if stand is Stand.OUTDATED else None
        halted = parts.standstills.find() if stand is Stand.HALTED else None
    for line in look_ups:
        click.echo(line, err=True)
    if unpublished:
        click.echo(
            f"{counted(unpublished, 'outgoing event')} not delivered yet; `onboard outbox list` says why", err=True
        )
    if ended:
        click.echo(ended, err=True)
    if stand is Stand.HALTED:
        why = halted.in_words if halted else "everything was stopped"
        click.echo(f"{why}; `onboard resume --all`, and then the same command, go on", err=True)
    if stand is Stand.LATER:
        for name, reason in sorted(silent.items()):
            click.echo(f"{name} does not work: {reason.rstrip('.')}", err=True)
    raise SystemExit(_exit_code(stand, facts, next_due, stopped, outdated))


def _approve(parts: Parts, listed: Listed, options: ListOptions, **how: Any) -> None:
    from worker.cli.approval import approve  # imported here: only a terminal needs it

    approve(parts, listed, options, **how)


@contextmanager
def _stopped_by_ctrl_c(parts: Parts) -> Iterator[list[BatchFacts]]:
    """Ctrl-C stops the batch also before its work has begun, and while it is imported. Filled with the batch."""
    opened: list[BatchFacts] = []
    try:
        yield opened
    except KeyboardInterrupt:
        if not opened:
            raise
        click.echo(_stopped_at(parts, opened[0], Stand.INTERRUPTED), err=True)
        raise SystemExit(INTERRUPTED) from None


def _stopped_at(parts: Parts, batch: BatchFacts, stand: Stand) -> str:
    """What an interrupted run leaves behind, for people; "" if it was not interrupted. Ctrl-C also stops the batch."""
    if stand not in (Stand.INTERRUPTED, Stand.TERMINATED):
        return ""
    try:
        return _stopped(parts, batch, stand)
    except sa.exc.OperationalError as error:
        click.echo(f"interrupted; {does_not_answer(error)}", err=True)
        if stand is Stand.INTERRUPTED:
            pauses = f"`onboard pause {batch.id}` keeps them from that"
            click.echo(f"batch {batch.id} could not be stopped: workers that run go on with it; {pauses}", err=True)
        raise SystemExit(INTERRUPTED) from None


def _stopped(parts: Parts, batch: BatchFacts, stand: Stand) -> str:
    counts = parts.facts.counts(batch.id)
    total, left = sum(counts.jobs.values()), counts.left
    now = parts.batches.find(str(batch.id)) or batch
    if now.imported_at is None:
        parts.decisions.stop(batch.id, by=os_user().name, now=parts.clock())
        return (
            f"stopped in the middle of the import, {counted(total, 'row')} in and {counts.out:,} out; no more are sent"
            f" until {how_to_import_the_rest(batch)}; `onboard cancel {batch.id}` ends them"
        )
    if not left:
        return f"interrupted; {counts.out:,} of {total:,} are out, and nothing is left to send"
    if stand is Stand.TERMINATED:
        return f"ended at {counts.out:,} of {total:,}; {left:,} are left: run the same command again to continue"
    parts.decisions.stop(batch.id, by=os_user().name, now=parts.clock())
    return (
        f"stopped at {counts.out:,} of {total:,}; {left:,} will not be sent until {how_to_go_on(batch)};"
        f" `onboard cancel {batch.id}` ends them"
    )


def _next_move(parts: Parts, batch: BatchFacts, *, alone: bool) -> tuple[datetime, BudgetState] | None:
    outlook = parts.facts.outlook(batch.id, alone=alone)
    return next_move(parts.budget_rules, parts.takeovers, outlook, batch.id, now=parts.clock())


def _exit_code(
    stand: Stand, facts: dict[str, Any], next_due: datetime | None, stopped: dict[str, str], outdated: str | None
) -> int:
    if stand in (Stand.INTERRUPTED, Stand.TERMINATED):
        return INTERRUPTED
    if stand is Stand.OUTDATED:
        click.echo(f"{outdated}; the same command then continues with this list", err=True)
        return NEEDS_A_PERSON
    if stand is Stand.HALTED:
        return NEEDS_A_PERSON
    if stand is Stand.STOPPED or any(account["stopped"] for account in facts["accounts"].values()):
        for names, reason in sorted(stopped.items()):
            click.echo(f"{names} stopped: {reason}", err=True)
    if stand is Stand.LATER:
        left = facts["rows"]["waiting"] + facts["rows"]["issued"]
        if facts["state"] == BatchState.PAUSED:
            why = f"{paused_in_words(facts)}\n"
            resumes = f"`onboard resume {facts['batch']}` resumes it"
            click.echo(f"{why}paused with {counted(left, 'row')} left; {resumes}", err=True)
        elif next_due is not None:
            rows = counted(left, "row waits", "rows wait")
            click.echo(f"{rows} until {written(next_due)}; run again then", err=True)
            for reason, waits in facts.get("waits", {}).items():
                click.echo(f"  {waiting_in_words(reason, waits)}", err=True)
        elif left and facts.get("plan", {}).get("verdict") == "":
            by = facts["plan"]["verdict_by"]
            rows = counted(left, "row waits", "rows wait")
            goes_on = "`onboard up`, workers, or the same command then, go on"
            click.echo(f"{rows} for the verdict on the pilot{f', by {by}' if by else ''}; {goes_on}", err=True)
        elif left:
            click.echo(
                f"{counted(left, 'row waits', 'rows wait')} for another batch that has the same customers;"
                f" `onboard report {facts['batch']}` names it",
                err=True,
            )
        else:
            click.echo(
                f"{counted(facts['rows']['invited'], 'customer has', 'customers have')} not finished;"
                " this command has nothing left to do",
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
@plan_options
@JSON
@click.pass_obj
def import_(
    invocation: Invocation,
    listed: Listed,
    options: Callable[[Parts], ListOptions],
    rule: Callable[[Parts], Known],
    strict: bool,
    allow_erased: bool,
    again: bool,
    plan: Plan | None,
    as_json: bool,
) -> None:
    with invocation.parts(STORED | {Need.BUS}, migrate=True) as parts, refusing_lists():
        refuse_what_cannot_work(parts)
        imported, returns = _import(
            parts,
            listed,
            options(parts),
            again=again,
            strict=strict,
            allow_erased=allow_erased,
            plan=plan,
            rule=rule(parts),
        )
        batch = parts.batches.find(str(imported.batch.id)) or imported.batch
        facts = parts.operation.report().with_what_is_worked(parts.reporting.status(batch))
        facts |= _changes(imported, returns)
    if as_json:
        click.echo(json.dumps(facts, ensure_ascii=False))
    else:
        show_status(facts)
    raise SystemExit(NEEDS_A_PERSON if facts["rows"]["rejected"] else 0)


def _changes(imported: Imported, returns: Returns) -> dict[str, Any]:
    """What a report has changed, for `--json`."""
    changed = [{"row": one.row, "customer_id": one.customer_id, "what": one.what} for one in returns.changes]
    return {"changes": changed} if imported.is_report else {}


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


def _import(
    parts: Parts,
    listed: Listed,
    options: ListOptions,
    *,
    again: bool,
    strict: bool,
    allow_erased: bool,
    plan: Plan | None,
    rule: Known,
    lift: bool = False,
    opened: Callable[[BatchFacts], None] = lambda _batch: None,
) -> tuple[Imported, Returns]:
    """Import the list. Returns what it became, and what became of the rows of a report.

    `lift`: go on with its batch if a person stopped it with Ctrl-C.
    """
    began = time.monotonic()
    shown_at = began
    returns = returns_of(parts, options, listed.name)

    def show(rows: int) -> None:
        nonlocal shown_at
        if time.monotonic() - shown_at >= 1:
            shown_at = time.monotonic()
            click.echo(f"importing: {counted(rows, 'row')}", err=True)

    try:
        with ExitStack() as exits:
            with parts.one_thread():
                child = exits.enter_context(judging_child(parts.intake, parts.batches, listed.content, options))
            exits.enter_context(parts.heartbeat(IMPORT))
            imported = import_list(
                parts.intake,
                parts.batches,
                listed.content,
                options,
                name=listed.name,
                again=again,
                strict=strict,
                allow_erased=allow_erased,
                plan=plan,
                rule=rule,
                returns=returns,
                child=child,
                opened=opened,
                progress=show,
            )
    except OtherPlan as error:
        raise CannotStart(str(error)) from None
    except CutOff as error:
        without = " (without --again)" if again else ""
        raise Stopped(
            f"the database could not be reached for too long, the import is cut off: {with_hint(str(error))}\n"
            f"the imported rows stay; the same command{without} imports the rest"
        ) from None
    for warning in imported.warnings:
        click.echo(f"warning: {warning}", err=True)
    batch = imported.batch
    if batch.cancelled_at is not None:
        raise CannotStart(f"batch {batch.id} of this list was cancelled; --again imports it anew")
    if batch.purged_at is not None:
        purged = f"batch {batch.id} of this list was purged on {batch.purged_at:%Y-%m-%d}"
        raise CannotStart(f"{purged}; --again imports it anew, without customers who have finished")
    if lift and batch.is_stopped:
        parts.decisions.lift(batch.id, now=parts.clock())
        click.echo(f"batch {batch.id} was {batch.pause_reason}; it goes on", err=True)
    elif batch.is_paused:
        why = "has paused itself: " if batch.paused_itself else "is "
        raise CannotStart(
            f"batch {batch.id} of this list {why}{batch.pause_reason}; `onboard resume {batch.id}` resumes it"
        )
    if imported.new:
        click.echo(f"batch {batch.id}: {listed.name} imported in {time.monotonic() - began:.1f} s", err=True)
        show_refusals(imported.refusals, batch)
        if imported.is_report:
            unchanged = parts.facts.counts(batch.id).known - returns.corrected
            show_changes(returns.changes, unchanged, err=True)
    else:
        age = list_age(batch, now=parts.clock())
        continues = f"this list was imported {age} ago; continuing with it (--again makes a new batch)"
        click.echo(f"batch {batch.id}: {continues}", err=True)
    return imported, returns


def _send_corrected(parts: Parts, batches: Collection[int], *, until: str, patience: timedelta) -> Stand | None:
    """Send what a report has changed: the messages belong to the batches of the corrected rows."""
    for number in sorted(batches):
        batch = parts.batches.find(str(number))
        if batch is not None:
            stand, _ = _work(parts, batch, until=until, patience=patience, alone=True, resent=True)
            if stand in (Stand.INTERRUPTED, Stand.TERMINATED, Stand.HALTED, Stand.OUTDATED):
                return stand
    return None


def _work(
    parts: Parts, batch: BatchFacts, *, until: str, patience: timedelta, alone: bool, resent: bool = False
) -> tuple[Stand, int]:
    """Why the work ended, and how many events were not published. `resent`: also the links that are sent again."""
    targets = build_targets(parts.settings)

    def is_done(counts: BatchCounts) -> bool:
        current = parts.batches.find(str(batch.id)) or batch  # it may be paused or cancelled meanwhile
        state = state_of(current, counts)
        if resent and parts.facts.is_resending(batch.id, now=parts.clock()):
            return False
        return state in (BatchState.FINISHED, BatchState.CANCELLED) or (until == "sent" and state is BatchState.SENT)

    async def work(progress: Progress) -> tuple[Stand, int]:
        embedded = Embedded(parts, targets, only_batch=batch.id if alone else None)
        loop = asyncio.get_running_loop()
        by_signal: list[signal.Signals] = []

        def end(number: signal.Signals) -> None:
            by_signal.append(number)
            embedded.interrupt()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, end, number)
        one = OneBatch(
            embedded,
            batch.id,
            facts=parts.facts,
            rules=parts.budget_rules,
            takeovers=parts.takeovers,
            clock=parts.clock,
            is_done=is_done,
            patience=patience,
            alone=alone,
            take_leads=lambda: parts.decisions.take_leads(batch.id, stopped_only=not alone, now=parts.clock()),
            halted=parts.standstills.is_there,
            verdict_by=lambda: parts.pilots.verdict_by(batch.id, now=parts.clock()),
            show=progress.show,
        )
        stand = await one.work()
        # Only Ctrl-C is a person's decision: a service manager ends a process with SIGTERM and starts it again.
        if stand is Stand.INTERRUPTED and signal.SIGINT not in by_signal:
            stand = Stand.TERMINATED
        return stand, one.unpublished

    with open_progress(on_click=buys_on_click(parts.settings)) as progress:
        return event_loop.run(work(progress))
