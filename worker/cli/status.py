"""`onboard status`: how the batches stand."""

import json
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from worker.cli.invocation import Invocation, find_batch
from worker.report import status as facts_of

# In the order of a row's life; a batch shows those it has.
ROWS = (
    "waiting",
    "working",
    "issued",
    "invited",
    "completed",
    "lapsed",
    "held",
    "failed",
    "cancelled",
    "rejected",
    "duplicate",
)


CALLS = {"requests": "requests", "issued": "issued", "rate_limited": "told to wait", "errors": "errors"}


@click.command()
@click.argument("batch", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the facts as one JSON document.")
@click.pass_obj
def status(invocation: Invocation, batch: str | None, as_json: bool) -> None:
    """How BATCH stands (a number, or `latest`); without one, all of them.

    What is waiting, what has been sent, what needs a person, when it will be done and what limits it.
    """
    with invocation.parts(migrate=True) as parts:
        if batch is not None:
            facts = facts_of(parts, find_batch(parts, batch))
            if as_json:
                click.echo(json.dumps(facts, ensure_ascii=False))
            else:
                show_status(facts)
            return
        every = [facts_of(parts, one) for one in parts.batches.all()]
    if as_json:
        click.echo(json.dumps({"batches": every}, ensure_ascii=False))
    elif not every:
        click.echo("there is no batch yet; `onboard run LIST.csv` makes one")
    else:
        _show_all(every)


def show_status(facts: dict[str, Any]) -> None:
    """One batch for people, on standard output."""
    console = Console(highlight=False, soft_wrap=True)
    rows = facts["rows"]
    console.print(f"batch {facts['batch']} ({facts['name']}): {facts['state']}", markup=False, style="bold")
    parts = [f"{rows[state]:,} {state}" for state in ROWS if rows[state]]
    console.print(f"  rows         {rows['total']:,}: {', '.join(parts) or 'none'}", markup=False)
    sent = [f"{number:,} {state}" for state, number in facts["invitations"].items() if number]
    console.print(f"  invitations  {', '.join(sent) or 'none'}", markup=False)
    for name, account in facts["accounts"].items():
        words = [f"{account[key]:,} {word}" for key, word in CALLS.items()]
        console.print(f"  {name:<12} {', '.join(words)}", markup=False)
        if account["stopped"]:
            console.print(f"  {'':<12} stopped: {account['stopped']}", markup=False, style="red")
    results = [f"{number:,} {result}" for result, number in facts["results"].items()]
    if results:
        console.print(f"  results      {', '.join(results)}", markup=False)
    ends = facts["forecast"]
    if ends["finishes_at"]:
        console.print(f"  done by      {ends['finishes_at']} ({ends['limited_by']})", markup=False)
    elif ends["limited_by"]:
        console.print(f"  waits for    {ends['limited_by']}", markup=False, style="red")


def _show_all(every: list[dict[str, Any]]) -> None:
    table = Table("batch", "list", "state", "rows", "out", "needs a person", "done by", box=None, padding=(0, 2))
    for facts in every:
        rows = facts["rows"]
        out = rows["invited"] + rows["completed"] + rows["lapsed"]
        attention = rows["held"] + rows["failed"] + rows["rejected"]
        table.add_row(
            str(facts["batch"]),
            facts["name"],
            facts["state"],
            f"{rows['total']:,}",
            f"{out:,}",
            f"{attention:,}" if attention else "",
            facts["forecast"]["finishes_at"] or "",
        )
    Console(highlight=False, markup=False).print(table)
