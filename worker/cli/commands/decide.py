"""Decisions of an operator about a batch: `retry`, `resolve`, `pause`, `resume`, `cancel`; and `stop`: of all."""

import time
from datetime import datetime
from typing import Any

import click

from onboarding_worker.cli.completions import AccountName, Batch
from onboarding_worker.cli.exits import CannotStart, refusing
from onboarding_worker.cli.invocation import Said, find_kept, saying
from onboarding_worker.cli.lists.options import in_both_zones, read_start
from onboarding_worker.cli.opening import wake_ups_of
from onboarding_worker.cli.running.summary import deciding, run_list
from onboarding_worker.cli.shared_options import DRY_RUN, REASON, YES, Read, confirm, together, without_address
from onboarding_worker.core.foundation.notation import are, counted
from onboarding_worker.core.model.states import JobState
from onboarding_worker.lists.decisions.row_addresses import RowRanges, read_rows
from onboarding_worker.lists.decisions.store.decisions import RepeatCost, Verdict
from onboarding_worker.lists.decisions.store.emergency_stop import Stopped
from onboarding_worker.lists.decisions.store.settlement import Which
from onboarding_worker.lists.store.batches import BatchFacts
from onboarding_worker.plans.store.plans import Plan, PlanRefused, bring_forward, set_most_credits
from onboarding_worker.reporting.batch_report import rows_left, staying, what_ends, worst_cost
from onboarding_worker.settings.needs import STORED, WAKING
from onboarding_worker.wiring.container import Parts
from onboarding_worker.wiring.os_user import os_user

GOES_ON = ("retry", "repeat")  # decisions after which there is work to do
# The state of the rows that a decision is about.
_OF_STATE = {"retry": JobState.FAILED, Verdict.REPEAT: JobState.HELD, Verdict.ABANDON: JobState.HELD}
NO_COST = RepeatCost({}, {})

_OF_ROWS = together(
    click.option("--account", type=AccountName(), help="Only the rows of this account."),
    click.option(
        "--row",
        "rows",
        type=Read("rows", read_rows),
        help="Only these rows, by their numbers in `onboard report`: 17, or 3,7,12-20.",
    ),
)


@click.command()
@click.argument("batch", type=Batch())
@_OF_ROWS
@DRY_RUN
@saying(WAKING)
def retry(parts: Parts, batch: str, account: str | None, rows: RowRanges | None, dry_run: bool) -> Said:
    """Try the failed rows of BATCH (a number, or `latest`) again, with their attempts set to zero.

    A row that failed because of its data fails again, unless a newer list has corrected the data. Held rows stay held,
    because one of their calls may have happened; see `onboard resolve`.

    \b
    onboard retry 3 --dry-run          how many rows failed?
    onboard retry 3 --account kyc      only the rows of this account
    onboard retry 3 --row 3,7,12-20    only these rows
    """
    found = _find_going(parts, batch)
    which = Which(found.id, _known(parts, found, account), rows)
    if dry_run:
        failed = parts.decisions.count(which, JobState.FAILED)
        return _said(found, "retry", failed, "would go back to waiting", dry_run=True)
    decided = deciding(parts, "retrying", found, of="rows").retry(which, now=parts.clock())
    wake_ups_of(parts.settings).send(decided.due)
    return _said(found, "retry", decided.rows, "went back to waiting", stopped=parts.emergency_stops.find())


@click.command()
@click.argument("batch", type=Batch())
@click.option("--repeat", is_flag=True, help="Make the calls of the held rows again.")
@click.option("--abandon", is_flag=True, help="Give the held rows up: they are cancelled.")
@_OF_ROWS
@YES
@DRY_RUN
@saying(WAKING)
def resolve(
    parts: Parts,
    batch: str,
    repeat: bool,
    abandon: bool,
    account: str | None,
    rows: RowRanges | None,
    yes: bool,
    dry_run: bool,
) -> Said:
    """Decide the held rows of BATCH (a number, or `latest`): make their calls again, or give the rows up.

    Most rows are held because the outcome of a call is unknown: if that call is made again, you may pay for a second
    session, or the customer may get a second message. Other reasons are a conflict at the provider, a broken template
    and a missing encryption key. `onboard report` shows the reason of each row; docs/reference/states.md explains it.

    \b
    onboard resolve 3 --repeat --dry-run     how many rows are held?
    onboard resolve 3 --repeat --row 17      make the call of one row again
    onboard resolve 3 --abandon --row 3,7-9  give some rows up
    onboard resolve 3 --abandon              give all held rows up
    """
    if repeat == abandon:
        raise click.UsageError("give --repeat or --abandon, and not both")
    verdict = Verdict.REPEAT if repeat else Verdict.ABANDON
    # Rows of a cancelled batch that are held, because their call was in flight, can only be given up.
    found = find_kept(parts, batch) if verdict == Verdict.ABANDON else _find_going(parts, batch)
    which = Which(found.id, _known(parts, found, account), rows)
    cost = parts.decisions.repeat_cost(which) if verdict is Verdict.REPEAT else NO_COST
    held = parts.decisions.count(which, JobState.HELD) - sum(cost.stay.values())
    if dry_run:
        elsewhere = parts.decisions.held_elsewhere(which)
        return _said(found, verdict, held, f"would be settled with --{verdict}", elsewhere, cost, dry_run=True)
    if held and not yes:
        rows_held = counted(held, "held row")
        if verdict is Verdict.REPEAT:
            confirm(f"make the calls of {rows_held} again? {worst_cost(cost)}")
        else:
            opened = "what the provider may have opened for them stays open until it expires"
            confirm(f"give up {rows_held}? This cancels them; {opened}")
    decided = deciding(parts, "resolving", found, of="rows").resolve(which, verdict, now=parts.clock())
    elsewhere = parts.decisions.held_elsewhere(which)
    wake_ups_of(parts.settings).send(decided.due)
    words = "went back to be called again" if verdict is Verdict.REPEAT else "given up"
    return _said(found, verdict, decided.rows, words, elsewhere, cost, stopped=parts.emergency_stops.find())


@click.command()
@click.argument("batch", type=Batch())
@REASON
@saying(STORED)
def pause(parts: Parts, batch: str, reason: str) -> Said:
    """Pause BATCH (a number, or `latest`) until `onboard resume`. Calls in flight are finished.

    It counts the rows that wait for a session or its message, as `onboard status` does. `onboard status` and the
    dashboard show who paused it, when, and the reason.
    """
    found = _find_going(parts, batch)
    deciding(parts, "pausing", found).pause(found.id, by=os_user().name, why=reason, now=parts.clock())
    left = parts.facts.left(found.id)
    was = f" was paused already ({found.pause_reason}), and stays so" if found.is_paused else " is paused"
    words = f"batch {found.id} ({found.name}){was} until `onboard resume {found.id}`: {rows_left(left)}"
    return Said(_facts(found, "pause", left, already=found.is_paused), [words])


@click.command()
@click.argument("batch", type=Batch(), required=False)
@click.option("--all", "everything", is_flag=True, help="Go on with everything that `onboard stop` stopped.")
@click.option(
    "--start-at",
    type=Read("time", read_start),
    metavar="TIME|now",
    help="Also bring the start forward that BATCH was imported with: to now, or to a time before it.",
)
@click.option(
    "--most-credits",
    type=click.IntRange(0, 1_000_000_000),
    metavar="N",
    help="Also let BATCH cost at most N credits in all, those that it has used among them.",
)
@saying(WAKING)
def resume(
    parts: Parts, batch: str | None, everything: bool, start_at: datetime | None, most_credits: int | None
) -> Said:
    """Resume BATCH (a number, or `latest`) after `onboard pause`, after Ctrl-C, or after it paused itself.

    Running workers then go on with it; if none runs, start `onboard up`, or `onboard run` with its list.

    A batch pauses itself when too many of its messages are refused or bounce (`onboard status` shows how many). After a
    resume they are counted from zero.

    --all ends an `onboard stop`, and nothing else: batches, accounts and senders that were paused or stopped stay so.
    """
    if everything == (batch is not None):
        raise click.UsageError("give BATCH, or --all to go on after `onboard stop`")
    if everything and (start_at is not None or most_credits is not None):
        raise click.UsageError(f"{'--start-at' if start_at is not None else '--most-credits'} is about one BATCH")
    if batch is None:
        return _go_on(parts)
    found = _find_going(parts, batch)
    already = not found.is_paused and found.changing_since is None
    if start_at is not None:
        with refusing(PlanRefused):
            begins_at = bring_forward(parts.database, found.id, max(start_at, parts.clock()), now=parts.clock())
        click.echo(f"starts at {in_both_zones(begins_at)}", err=True)
    if most_credits is not None:
        set_most_credits(parts.database, found.id, most_credits, now=parts.clock())
        click.echo(f"batch {found.id} may cost {counted(most_credits, 'credit')} in all", err=True)
    decided = deciding(parts, "resuming", found).resume(found.id, now=parts.clock())
    wake_ups_of(parts.settings).send(decided.due)
    left, stopped = parts.facts.left(found.id), parts.emergency_stops.find()
    waiting = rows_left(left, with_joined=parts.facts.counts(found.id).left)
    behind, planned, now = parts.pilots.held_back(found.id), parts.reporting.plan(found), parts.clock()
    lines = [f"batch {found.id} ({found.name}) {'was not paused' if already else 'goes on'}: {waiting}"]
    plan = planned.plan if planned is not None else Plan()
    if stopped is None and left > behind and plan.start_at is not None and plan.start_at > now:
        # With a deadline each row has a time of its own, and none is brought forward.
        sooner = "" if plan.deadline else f"; `onboard resume {found.id} --start-at now` starts it"
        lines.append(f"its start is {in_both_zones(plan.start_at)}{sooner}")
    else:
        lines += _way_on(found, left - behind, stopped)
    if behind:
        rows = counted(behind, "row waits", "rows wait")
        lines.append(f"{rows} for the verdict on the pilot, which a resume does not take: `onboard status {found.id}`")
    return Said(_facts(found, "resume", left, already=already), lines)


def _go_on(parts: Parts) -> Said:
    if parts.restored is not None and parts.restored.found:
        # Nobody has seen it yet: it stopped everything a moment ago.
        raise CannotStart(f"everything was stopped just now: {parts.restored.found}; then `onboard resume --all` again")
    ended = parts.emergency_stops.go_on(now=parts.clock())
    facts = {"action": "resume", "stopped": ended.as_facts() if ended is not None else None}
    lines = ["nothing was stopped with `onboard stop`"]
    if ended is not None:
        lines = [f"{ended.in_words}; it goes on: running workers claim what is due within seconds"]
        lines.append("without workers: `onboard run LIST`, or `onboard up`")
    return Said(facts, lines)


@click.command()
@click.argument("batch", type=Batch())
@YES
@saying(STORED)
def cancel(parts: Parts, batch: str, yes: bool) -> Said:
    """Cancel every row of BATCH (a number, or `latest`) that has not ended. This cannot be undone.

    It says how many rows, first messages and reminders that ends, and asks first. Invited customers have not ended.
    Messages that have not been sent are not sent. Open sessions stay open at the provider until they expire. Calls in
    flight are finished first.
    """
    found = find_kept(parts, batch)
    ends = what_ends(parts.facts.counts(found.id), parts.decisions.count_reminders(found.id))
    again = found.cancelled_at is not None and not ends
    of = f"batch {found.id} ({found.name})"
    if not (yes or again):
        confirm(f"cancel {ends} of {of}?" if ends else f"{of} has no row left to cancel; mark it as cancelled?")
    decided = deciding(parts, "cancelling", found, of="rows").cancel(found.id, now=parts.clock())
    said = _said(found, "cancel", decided.rows, "cancelled")
    return said._replace(lines=[f"{of} was cancelled already: no row is left to cancel"]) if again else said


def _find_going(parts: Parts, which: str) -> BatchFacts:
    """The batch. Raises CannotStart if it was cancelled, or there is none."""
    batch = find_kept(parts, which)
    if batch.cancelled_at is not None:
        raise CannotStart(f"batch {batch.id} was cancelled, which cannot be undone; its list can be run --again")
    return batch


def _known(parts: Parts, batch: BatchFacts, account: str | None) -> str | None:
    """The account that a decision is about. Raises CannotStart if neither the configuration nor the batch has it."""
    if account is not None and account not in parts.accounts:
        names = parts.accounts.keys() | parts.facts.counts(batch.id).accounts.keys()
        if account not in names:
            raise CannotStart(f"there is no account {account!r}; they are {', '.join(sorted(names))}")
    return account


def _said(
    batch: BatchFacts,
    action: str,
    rows: int,
    words: str,
    elsewhere: dict[int, int] | None = None,
    cost: RepeatCost = NO_COST,
    *,
    dry_run: bool = False,
    stopped: Stopped | None = None,
) -> Said:
    """A decision. `elsewhere`: how many rows wait for a held row of another batch, by that batch. `cost`: of a
    repeat, what a dry run shows, and which rows stay held. `stopped`: a person has stopped everything."""
    facts = _facts(batch, action, rows)
    if elsewhere is not None:
        facts["joined"] = {str(leads): number for leads, number in elsewhere.items()}
    if dry_run and action == Verdict.REPEAT:
        facts["at_worst"] = {"second_sessions": dict(cost.sessions), "second_messages": dict(cost.messages)}
    lines = [f"batch {batch.id} ({batch.name}): {counted(rows, 'row')} {words}", *staying(cost.stay)]
    if dry_run and (at_worst := worst_cost(cost)):
        lines.append(at_worst)
    if not rows and not elsewhere and not cost.stay and action in _OF_STATE:
        each = f"`onboard report {batch.id}` shows the state of each"
        lines.append(f"no row of this choice is {_OF_STATE[action]}: {each}")
    for leads, number in (elsewhere or {}).items():
        held = f"{counted(number, 'row')} {are(number)} held by batch {leads}"
        lines.append(f"{held}: `onboard resolve {leads} --{action}`")
    if action in GOES_ON and (stopped is not None or not dry_run):
        lines += _way_on(batch, rows, stopped)
    return Said(facts, lines)


def _way_on(batch: BatchFacts, rows: int, stopped: Stopped | None) -> list[str]:
    if not rows:
        return []
    if stopped is not None:
        return [f"{stopped.in_words}; `onboard resume --all` goes on"]
    without = f"`{run_list(batch)}`, or `onboard up`" if batch.has_list else "`onboard up`"
    return [f"running workers go on with {'it' if rows == 1 else 'them'}; without workers: {without}"]


def _facts(batch: BatchFacts, action: str, rows: int, *, already: bool = False) -> dict[str, Any]:
    return {"batch": batch.id, "action": action, "rows": rows} | ({"already": True} if already else {})


@click.command()
@click.option(
    "--reason",
    default="",
    metavar="TEXT",
    callback=without_address,
    help="Why, for the audit log and for everyone who sees the stop: no name and no address.",
)
@saying(STORED)
def stop(parts: Parts, reason: str) -> Said:
    """Stop everything at once: until `onboard resume --all` no process begins a call or sends a customer a message.

    Calls in flight are finished, and their results are written; the command says how many they are. Events and webhooks
    are still received, stored and applied; what they make due waits. Workers keep running. `onboard run` ends.
    `onboard pause BATCH` stops one batch alone.

    \b
    onboard stop --reason "the wrong template"
    onboard resume --all
    """
    from onboarding_worker.wiring.runner import STOP_HOLDS_AFTER  # here: aiohttp, which no other decision needs

    before = parts.emergency_stops.find()
    stopped = parts.emergency_stops.stop(by=os_user().name, reason=reason, now=parts.clock())
    if before is None:
        time.sleep(STOP_HOLDS_AFTER.total_seconds())  # then no process begins a call any more
    in_flight = parts.emergency_stops.in_flight(now=parts.clock())
    calls = ", ".join(f"{name} {number:,}" for name, number in sorted(in_flight.items()))
    total = counted(sum(in_flight.values()), "call")
    lines = [
        stopped.in_words if before is None else f"stopped already: {stopped.in_words}",
        *(["its reason stays as it was"] if before is not None and reason else []),
        f"in flight: {f'{total} ({calls}), which end by themselves' if in_flight else 'nothing'}",
        "`onboard resume --all` goes on; batches that were paused before stay paused",
    ]
    return Said({"action": "stop", "stopped": stopped.as_facts(), "in_flight": in_flight}, lines)
