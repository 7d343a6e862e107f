"""`onboard status`: how the batches stand."""

import time
from collections.abc import Iterator
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from onboarding_worker.cli.completions import Batch
from onboarding_worker.cli.exits import CannotStart
from onboarding_worker.cli.invocation import Invocation, find_batch
from onboarding_worker.cli.shared_options import JSON, in_columns, print_json, print_json_or
from onboarding_worker.core.foundation.notation import are, counted, listed_in_words, written
from onboarding_worker.core.model.reasons import UNTIL_A_PERSON, Reason, meaning_of
from onboarding_worker.core.model.states import BatchState, JobState, LineState, PauseCause
from onboarding_worker.lists.store.batches import BatchFacts
from onboarding_worker.reporting.batch_report import rows_to_correct
from onboarding_worker.reporting.forecast import lost_answers, lost_sessions
from onboarding_worker.reporting.operation_report import OperationReport
from onboarding_worker.reporting.row_groups import sets_in_words
from onboarding_worker.reporting.standings import STANDINGS
from onboarding_worker.reporting.store.processes import WORK
from onboarding_worker.reporting.waits import NOTHING_STUCK, Level, Wait, level_of, none_works, with_rows
from onboarding_worker.settings.needs import COUNTED
from onboarding_worker.wiring.container import Parts

# The states in the order of a row's life; a batch shows the states that its rows have.
ROWS = (*JobState, *LineState)
WATCH_SECONDS = 1.0
AT_REST = ("sent", "finished", "cancelled")
LEVELS = {Level.WELL: "OK", Level.NEEDS_A_PERSON: "WARNING", Level.CRITICAL: "CRITICAL"}


@click.command()
@click.argument("batch", type=Batch(), required=False)
@click.option("--watch", is_flag=True, help="Refresh each second, until the batch's invitations are sent, or Ctrl-C.")
@click.option("--check", is_flag=True, help="Print one line for a monitoring system, without the batches.")
@JSON
@click.pass_obj
def status(invocation: Invocation, batch: str | None, watch: bool, check: bool, as_json: bool) -> None:
    """Show which processes work and what needs a person, and the state of BATCH (a number, or `latest`) or all batches.

    Shows how many rows wait or are sent, when the batch will be done, and what limits its speed. A row that was
    rejected, failed or lapsed without any message waits for a correction, until a later list or event has its
    customer. docs/reference/states.md explains each state.

    Exit codes of --check: 0 all is well; 1 something needs a person; 2 no process is working, or none has begun a call
    for five minutes, although work is due that one could do now (not where its account or sender is stopped or paused),
    or the status cannot be read. Without --check: 0, or 2 if it cannot start.
    """
    if watch and as_json:
        raise click.UsageError("--watch is for people; a script calls `status --json` again")
    if check and (watch or batch is not None):
        raise click.UsageError("--check is about all batches")
    if check:
        raise SystemExit(_check(invocation, as_json=as_json))
    with invocation.parts(COUNTED, migrate=True) as parts:
        if watch:
            _watch(parts, find_batch(parts, batch or "latest"))
            return
        whole = parts.operation.report()
        if batch is not None:
            found = find_batch(parts, batch)
            counts = parts.facts.counts(found.id)
            facts = whole.with_what_is_worked(parts.reporting.status(found, counts))
            if as_json:
                print_json(facts | whole.facts())
            else:
                _show_processes(whole)
                show_status(facts)
                _show_needs(whole, rows_to_correct(facts, counts.corrected))
            return
        batches = [(one, parts.facts.counts(one.id)) for one in parts.batches.all()]
        every = [
            whole.with_what_is_worked(parts.reporting.status(one, counts, with_sets=False)) for one, counts in batches
        ]
        warned = [one.warning(parts.settings, parts.database, parts.clock()) for one in STANDINGS.offered()]
    if as_json:
        print_json({"batches": every, "accounts": whole.accounts} | whole.facts())
    else:
        to_correct = [rows_to_correct(one, of.corrected) for one, (_, of) in zip(every, batches, strict=True)]
        _show_processes(whole)
        if every:
            _show_all(every, [counts.out for _, counts in batches], to_correct)
        else:
            click.echo("there is no batch yet; `onboard run LIST.csv` makes one")
        _show_needs(whole, sum(to_correct))
    for warning in filter(None, warned):
        click.echo(f"warning: {warning}", err=True)


def show_status(facts: dict[str, Any]) -> None:
    """One batch for people, on standard output."""
    # Lines are not wrapped: a time broken in two can be neither read nor searched for.
    Console(highlight=False).print(_lines(facts), soft_wrap=True)


def _check(invocation: Invocation, *, as_json: bool) -> Level:
    """Print one line; returns the exit code. A monitoring system shows standard output only: the line is there too if
    the status cannot be read."""
    try:
        with invocation.parts(COUNTED, migrate=True) as parts:
            whole = parts.operation.report()
    except CannotStart as error:
        why = "; ".join(error.format_message().splitlines())
        nothing: dict[str, Any] = {"accounts": {}, "processes": [], "needs_a_person": []}
        word = LEVELS[Level.CRITICAL]
        print_json_or({"level": word, "problem": why} | nothing, f"{word}: {why}", as_json=as_json)
        return Level.CRITICAL
    level = level_of(whole.attention)
    working = sum(one.kind in WORK for one in whole.running)
    at_work = f"{counted(working, 'process', 'processes')} at work, {NOTHING_STUCK}"
    words = [_in_words(one) for one in whole.attention] or [at_work]
    if not working and whole.pauses:
        words.append(whole.pauses)
    facts = {"level": LEVELS[level], "accounts": whole.accounts} | whole.facts()
    print_json_or(facts, f"{LEVELS[level]}: {' | '.join(words)}", as_json=as_json)
    return level


def _show_processes(whole: OperationReport) -> None:
    if whole.stopped is not None:
        click.echo(f"{whole.stopped.in_words}; `onboard resume --all` goes on")
    for one in whole.running:
        verb = "working" if one.kind in WORK else "running"
        of = "" if one.batch_id is None else f" of batch {one.batch_id}"
        silence = f"; {words}" if (words := one.silence_in_words(whole.at)) else ""
        process = f"process {one.pid} on {one.host}, since {written(one.started_at)}"
        click.echo(f"{verb}: {one.kind}{of}, {process}{silence}")
    if whole.beat_at is not None:
        click.echo(f"running: beat; its last wake-up came at {written(whole.beat_at)}")
    if not any(one.kind in WORK for one in whole.running):
        click.echo(whole.idle if whole.due else f"{none_works(whole.running)}; {whole.nothing_to_do}")


def _show_needs(whole: OperationReport, to_correct: int) -> None:
    paused: dict[str, list[str]] = {}  # accounts that share a budget pause together, and are one line
    for name, account in whole.accounts.items():
        if account["paused_until"] and not account["stopped"]:
            paused.setdefault(f"paused until {account['paused_until']}: {account['pause_reason']}", []).append(name)
    for words, names in paused.items():
        click.echo(f"{listed_in_words(names)} {are(len(names))} {words}")
    silent = {name: account["no_answer"] for name, account in whole.accounts.items() if account["no_answer"]}
    lines = [f"{name} did not answer the last call: {why}" for name, why in silent.items()]
    lines += [line for one in whole.standings for line in one.lines]
    lines += [f"needs a person: {_in_words(one)}" for one in whole.attention]
    for line in filter(None, [*lines, with_rows("" if whole.attention else NOTHING_STUCK, to_correct)]):
        click.echo(line)


def _in_words(one: Wait) -> str:
    about = " ".join(word for word in (one.what if one.what in ("batch", "key") else "", one.name) if word)
    return f"{about}: {one.detail}; `{one.action}`" if about else f"{one.detail}; `{one.action}`"


def _watch(parts: Parts, batch: BatchFacts) -> None:
    from rich.live import Live

    with Live(console=Console(highlight=False), auto_refresh=False) as live:
        while True:
            current = parts.batches.find(str(batch.id)) or batch
            facts = parts.operation.report().with_what_is_worked(parts.reporting.status(current))
            live.update(_lines(facts), refresh=True)
            if facts["state"] in AT_REST:
                return
            time.sleep(WATCH_SECONDS)


def _lines(facts: dict[str, Any]) -> Text:
    purged = f"; purged on {facts['purged_at'][:10]}, its rows are gone" if "purged_at" in facts else ""
    text = Text(f"batch {facts['batch']} ({facts['name']}): {facts['state']}{purged}", style="bold")
    for name, words, *style in _parts_of(facts):
        text.append(f"\n  {name:<12} {words}", style=" ".join(("not bold", *style)))
    return text


def _parts_of(facts: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    rows = facts["rows"]
    unknown = [state for state in rows if state not in ROWS and state != "total"]
    states = [f"{rows[state]:,} {state}" for state in (*ROWS, *unknown) if rows.get(state)]
    messages = [f"{number:,} {state}" for state, number in facts["invitations"].items() if number]
    yield ("rows", f"{rows['total']:,}: {', '.join(states) or 'none'}")
    yield ("invitations", ", ".join(messages) or "none")
    if "lapsed_unsent" in facts:
        words = f"{facts['lapsed_unsent']:,} lapsed without any message; `onboard report` says why"
        yield ("unsent", words, "red")
    if "plan" in facts:
        yield from _of_plan(facts["plan"], facts["batch"], cancelled=facts["state"] == BatchState.CANCELLED)
    if "pause_reason" in facts:
        yield ("paused", paused_in_words(facts), "red")
    for name, account in facts["accounts"].items():
        yield from _of_account(name, account)
    if facts["results"]:
        yield ("results", ", ".join(f"{number:,} {result}" for result, number in facts["results"].items()))
    if "in_review_since" in facts:
        yield ("", f"the longest review: since {facts['in_review_since']}")
    for reason, waits in facts.get("waits", {}).items():
        yield ("waits", waiting_in_words(reason, waits))
    if "sets" in facts:
        yield ("rows set", sets_in_words(facts["sets"]))
    ends = facts["forecast"]
    if ends["finishes_at"]:
        yield ("done by", f"{'roughly ' if ends['assumed'] else ''}{ends['finishes_at']} ({ends['limited_by']})")
        yield from (("apart", words) for words in ends.get("apart", ()))
    elif ends["limited_by"]:
        yield ("no end yet", ends["limited_by"], "red")


def _of_plan(plan: dict[str, Any], batch_id: int, *, cancelled: bool) -> Iterator[tuple[str, ...]]:
    yield ("plan", plan["in_words"])
    if "first" not in plan:
        return
    verdict = {
        "": "no verdict" if cancelled else "no verdict yet",
        "met": "passed",
        "not_met": "did not pass",
        "asked": "no condition was given" + ("" if cancelled else f": it waits for `onboard resume {batch_id}`"),
        "person": "resumed by a person",
    }
    by = f", by {plan['verdict_by']}" if plan["verdict_by"] else ""
    yield ("pilot", f"{plan['numbers']}; {verdict[plan['verdict']]}{by}")


def _of_account(name: str, account: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    made, failed = counted(account["requests"], "request"), counted(account["errors"], "error")
    yield (name, f"{made}, {account['issued']:,} issued, {account['rate_limited']:,} rate-limited, {failed}")
    if account["in_doubt"]:
        yield ("", f"{lost_answers(account['in_doubt'], 0)}, to be reconciled")
    if orphans := account.get("orphans"):
        by = f", by {orphans['ends_by']} at the latest" if orphans["ends_by"] else ""
        yield ("", f"{lost_sessions(orphans['rows'])}: the next is looked at {orphans['look_at']}")
        yield ("", f"  a new one is asked for after the end of each{by}")
    if account["late"]:
        late = counted(account["late"], "session")
        yield ("", f"{late} in answers that were lost or too late; the report names them", "red")
    if account["stopped"]:
        yield ("", f"stopped: {account['stopped']}", "red")


def paused_in_words(facts: dict[str, Any]) -> str:
    """Who paused the batch and when, or why it paused itself."""
    itself = "the batch paused itself: " if facts["pause_cause"] == PauseCause.ITSELF else ""
    return f"{itself}{facts['pause_reason']}"


def waiting_in_words(reason: str, waits: dict[str, Any]) -> str:
    """How many rows of a batch wait for a later hour, until when and why."""
    if reason in UNTIL_A_PERSON:  # no time ends it
        return f"{waits['rows']:,}: {meaning_of(reason)}"
    until = "checked again at" if reason == Reason.IN_REVIEW else "until"
    span = f"{until} {waits['from']}"
    if waits["until"] != waits["from"]:
        span = f"the first {until} {waits['from']}, the last {until} {waits['until']}"
    return f"{waits['rows']:,} {span}: {waits.get('because') or meaning_of(reason)}"


def _show_all(every: list[dict[str, Any]], outs: list[int], corrections: list[int]) -> None:
    table = [("batch", "list", "state", "rows", "out", "to correct", "done by")]
    for facts, out, to_correct in zip(every, outs, corrections, strict=True):
        state = "purged" if "purged_at" in facts else facts["state"]
        numbers = f"{facts['rows']['total']:,}", f"{out:,}", f"{to_correct:,}" if to_correct else ""
        table.append((str(facts["batch"]), facts["name"], state, *numbers, facts["forecast"]["finishes_at"] or ""))
    click.echo("\n".join(in_columns(table, right=lambda at: at in (0, 3, 4, 5))))
