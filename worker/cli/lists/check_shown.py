"""What `check` shows a person: what the list would need, and what was found in it."""

from collections.abc import Collection
from itertools import chain, islice
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from worker.cli.lists.cost import costs_in_words
from worker.cli.lists.foreseen import corrected_in_words
from worker.cli.lists.found_rows import SHOWN, FoundRows
from worker.cli.running.summary import changed_in_words
from worker.core.foundation.notation import counted
from worker.lists.warned import Refusals, warned_of

SHOWN_KINDS = 10


def _console() -> Console:
    return Console(highlight=False, soft_wrap=True)


def show_needs(facts: dict[str, Any], *, in_all: int, reissues: int, step: str, without_end: str) -> None:
    """`in_all`: the most messages, all channels together. `step`: what a person does about what is stopped.
    `without_end`: what is said before the reason for which no end is known."""
    console = _console()
    rows = facts["rows"]
    console.print(
        f"[bold]{counted(rows['total'], 'row')}[/]: {rows['accepted']:,} accepted, {rows['rejected']:,} rejected,"
        f" {rows['duplicate']:,} duplicate{', ' + format(rows['known'], ',') + ' known' if 'known' in rows else ''}"
    )
    if facts["changed_addresses"]:
        click.echo(changed_in_words(facts["changed_addresses"]))
        for line in corrected_in_words(facts["corrected"]):
            click.echo(line)
    if facts["routes"]:
        table = Table("account", "rows", "calls now", "at most", box=None, pad_edge=False, padding=(0, 2))
        for account, count_ in facts["routes"].items():
            calls = facts["now"].get(account, 0), facts["credits"].get(account, 0)
            table.add_row(account, f"{count_:,}", *(f"{number:,}" for number in calls))
        console.print(table)
        console.print(_calls_in_words(facts, reissues))
    if brands := facts.get("brands"):
        numbers = (f"{name or 'the default one'} {rows:,}" for name, rows in brands.items())
        console.print(f"rows by brand: {', '.join(numbers)}", markup=False)
    for line in costs_in_words(facts):
        console.print(line)
    messages = ", ".join(f"{number:,} {channel}" for channel, number in facts["messages"].items() if number)
    # Each channel's own worst case; their sum is more than the cap allows.
    capped = (
        f", but {in_all:,} in total: messages_per_customer counts both"
        if in_all < sum(facts["messages"].values())
        else ""
    )
    console.print(f"messages at worst: {messages or 'none'}{capped}")
    if "plan" in facts:
        console.print(f"plan: {facts['plan']}", markup=False)
    ends = facts["forecast"]
    if ends["finishes_at"]:
        roughly = "roughly " if ends["assumed"] else ""
        console.print(f"would be sent by {roughly}{ends['finishes_at']} ({ends['limited_by']})", markup=False)
    elif ends["limited_by"]:
        console.print(f"{without_end}: {ends['limited_by']}{step}", markup=False)
    for words in ends.get("apart", ()):
        console.print(f"apart from that: {words}", markup=False)


def _calls_in_words(facts: dict[str, Any], reissues: int) -> str:
    calls, rows = sum(facts["now"].values()), facts["rows"]["accepted"]
    none = f"{facts['served']:,} of {counted(rows, 'row')} need none: served, finished or held"
    served = f" ({none})" if facts["served"] else ""
    if not calls:
        return f"now: no calls{served}"
    again = f", with {counted(reissues, 'reissue')} each" if reissues else ""
    return f"now: {counted(calls, 'call')}{served}; at most{again}: {sum(facts['credits'].values()):,}"


def show_problems(problems: FoundRows, refusals: Refusals, errors: Path | None) -> None:
    """The kinds of problems with how many rows have each, then the first problems, as two tables."""
    if not problems:
        return
    kinds = refusals.top(SHOWN_KINDS + 1)
    shown = [[f"{rows:,}", one.column or "the row", one.problem, one.hint] for rows, one in kinds[:SHOWN_KINDS]]
    if shown:
        click.echo("problems by kind:")
        _as_table(["rows", "column", "such as", "what to do"], shown)
    if len(kinds) > SHOWN_KINDS:
        click.echo("  … and more kinds")
    click.echo(f"the first {SHOWN}:" if len(problems) > SHOWN else "problems:")
    first = [[f"{row:,}" if row else "", one.column or "the row", one.problem] for row, one in islice(problems, SHOWN)]
    _as_table(["row", "column", "problem"], first)
    _show_rest(len(problems), errors)


def _as_table(titles: list[str], rows: list[list[str]]) -> None:
    """Lines that are never cut or folded: programs and people search them. The first column is a number."""
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    for row in (titles, *rows):
        cells = [row[0].rjust(widths[0]), *(cell.ljust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        click.echo(f"  {'  '.join(cells)}".rstrip())


def show_warnings(warnings: Collection[FoundRows], errors: Path | None) -> None:
    console = _console()
    kinds = warned_of(chain.from_iterable(warnings)).kinds
    for kind in kinds[:SHOWN]:
        console.print(f"warning: {kind.in_words}", markup=False)
    if len(kinds) > SHOWN:
        click.echo("… and more kinds of warnings")
    if len(kinds) > SHOWN or any(kind.count > len(kind.rows) > 0 for kind in kinds):
        click.echo(f"each warning with its row: {f'see {errors}' if errors else '--errors FILE writes them all'}")


def _show_rest(number: int, errors: Path | None) -> None:
    if number > SHOWN:
        where = f"see {errors}" if errors else "--errors FILE writes them all, with their rows"
        click.echo(f"… and {number - SHOWN:,} more problems; {where}")
