"""`onboard status`: how the batches stand."""

import json
import time
from typing import Any

import click
from rich.console import Console
from rich.live import Live
from rich.table import Column, Table
from rich.text import Text

from worker.cli.invocation import Invocation, find_batch
from worker.domain.model.reasons import Reason, meaning_of
from worker.domain.model.reconciliation import lost_answers
from worker.domain.model.states import JobState, LineState
from worker.engine.container import Parts
from worker.engine.outbox_targets import unpublished_in_words
from worker.foundation.clock import monotonic
from worker.runtime.batch_run import COUNT_SHARE
from worker.store.onboarding.batches import BatchFacts

# The states in the order of a row's life; a batch shows the states that its rows have.
ROWS = (*JobState, *LineState)
CALLS = {"requests": "requests", "issued": "issued", "rate_limited": "rate-limited", "errors": "errors"}


WATCH_SECONDS = 1.0
AT_REST = ("sent", "finished", "cancelled")


@click.command()
@click.argument("batch", required=False)
@click.option("--watch", is_flag=True, help="Refresh each second, until the batch's invitations are sent, or Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print the facts as one JSON document.")
@click.pass_obj
def status(invocation: Invocation, batch: str | None, watch: bool, as_json: bool) -> None:
    """Show the state of BATCH (a number, or `latest`); without BATCH, of all batches.

    Shows how many rows wait, are sent or need a person, when the batch will be done, and what limits its speed.
    A rejected row needs a person too. docs/states.md explains each state.
    """
    if watch and as_json:
        raise click.UsageError("--watch is for people; a script calls `status --json` again")
    with invocation.parts(migrate=True) as parts:
        if watch:
            _watch(parts, find_batch(parts, batch or "latest"))
            return
        if batch is not None:
            facts = parts.reporting.status(find_batch(parts, batch))
            if as_json:
                click.echo(json.dumps(facts, ensure_ascii=False))
            else:
                show_status(facts)
            return
        counted = [(one, parts.facts.counts(one.id)) for one in parts.batches.all()]
        every = [parts.reporting.status(one, counts) for one, counts in counted]
        not_publishing = parts.outbox_targets.unpublished()
    if as_json:
        click.echo(json.dumps({"batches": every}, ensure_ascii=False))
    elif not every:
        click.echo("there is no batch yet; `onboard run LIST.csv` makes one")
    else:
        _show_all(every, [counts.out for _, counts in counted])
    if not_publishing:
        click.echo(f"warning: {unpublished_in_words(not_publishing)}: see `onboard outbox list`", err=True)


def show_status(facts: dict[str, Any]) -> None:
    """One batch for people, on standard output."""
    # Lines are not wrapped: a time broken in two can be neither read nor searched for.
    Console(highlight=False).print(_lines(facts), soft_wrap=True)


def _watch(parts: Parts, batch: BatchFacts) -> None:
    with Live(console=Console(highlight=False), auto_refresh=False) as live:
        while True:
            current = parts.batches.find(str(batch.id)) or batch
            began = monotonic()
            facts = parts.reporting.status(current)
            live.update(_lines(facts), refresh=True)
            if facts["state"] in AT_REST:
                return
            # Counting a million rows takes about a second: it must not be most of the database's work.
            time.sleep(max(WATCH_SECONDS, (monotonic() - began) / COUNT_SHARE))


def _lines(facts: dict[str, Any]) -> Text:
    rows = facts["rows"]
    purged = f"; purged on {facts['purged_at'][:10]}, its rows are gone" if "purged_at" in facts else ""
    text = Text(f"batch {facts['batch']} ({facts['name']}): {facts['state']}{purged}", style="bold")

    def line(name: str, words: str, style: str = "") -> None:
        text.append(f"\n  {name:<12} {words}", style=f"not bold {style}".strip())

    states = [f"{rows[state]:,} {state}" for state in ROWS if rows[state]]
    messages = [f"{number:,} {state}" for state, number in facts["invitations"].items() if number]
    line("rows", f"{rows['total']:,}: {', '.join(states) or 'none'}")
    line("invitations", ", ".join(messages) or "none")
    if "pause_reason" in facts:
        line("paused", facts["pause_reason"], "red")
    for name, account in facts["accounts"].items():
        line(name, ", ".join(f"{account[key]:,} {word}" for key, word in CALLS.items()))
        if account["in_doubt"]:
            line("", f"{lost_answers(account['in_doubt'], 0)}, to be reconciled")
        if account["late"]:
            line("", f"{account['late']:,} sessions in answers that came too late; the report names them", "red")
        if account["stopped"]:
            line("", f"stopped: {account['stopped']}", "red")
    if facts["results"]:
        line("results", ", ".join(f"{number:,} {result}" for result, number in facts["results"].items()))
    for reason, waits in facts.get("waits", {}).items():
        line("waits", waiting_in_words(reason, waits))
    ends = facts["forecast"]
    if ends["finishes_at"]:
        line("done by", f"{ends['finishes_at']} ({ends['limited_by']})")
    elif ends["limited_by"]:
        line("waits for", ends["limited_by"], "red")
    return text


def waiting_in_words(reason: str, waits: dict[str, Any]) -> str:
    """How many rows of a batch wait for a later hour, until when and why."""
    until = "checked again at" if reason == Reason.IN_REVIEW else "until"
    span = f"{until} {waits['from']}"
    if waits["until"] != waits["from"]:
        span = f"the first {until} {waits['from']}, the last {until} {waits['until']}"
    return f"{waits['rows']:,} {span}: {meaning_of(reason)}"


def _show_all(every: list[dict[str, Any]], outs: list[int]) -> None:
    whole = [Column(name, no_wrap=True) for name in ("state", "rows", "out", "needs a person", "done by")]
    table = Table("batch", Column("list", overflow="fold"), *whole, box=None, padding=(0, 2, 0, 0))
    for facts, out in zip(every, outs, strict=True):
        rows = facts["rows"]
        attention = rows["held"] + rows["failed"] + rows["rejected"]
        table.add_row(
            str(facts["batch"]),
            facts["name"],
            "purged" if "purged_at" in facts else facts["state"],
            f"{rows['total']:,}",
            f"{out:,}",
            f"{attention:,}" if attention else "",
            facts["forecast"]["finishes_at"] or "",
        )
    Console(highlight=False, markup=False).print(table)
