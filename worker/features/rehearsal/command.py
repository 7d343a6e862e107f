"""`onboard rehearse`: plays a list through the real engine, with the sandbox and without a network."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from onboarding_sandbox.options import Share
from onboarding_worker.cli.exits import DONE, LATER, NEEDS_A_PERSON, refusing
from onboarding_worker.cli.invocation import Invocation, Said, saying
from onboarding_worker.cli.lists.listed import Listed, refusing_lists
from onboarding_worker.cli.lists.options import LIST_HELP, list_options, read_time
from onboarding_worker.cli.shared_options import Named, Read
from onboarding_worker.core.foundation.clock import ProcessClock
from onboarding_worker.core.foundation.notation import parse_duration
from onboarding_worker.features.rehearsal.play import Asked, Show
from onboarding_worker.features.rehearsal.play import rehearse as play
from onboarding_worker.features.rehearsal.shown import BEGIN, facts_of, lines_of, shares_of, write_events
from onboarding_worker.settings.needs import NOTHING
from onboarding_worker.settings.problems import SettingsError

MOST_ROWS = 2000


def _share(text: str) -> float:
    match = re.fullmatch(r"(\d{1,3}(?:\.\d+)?)\s?%", text.strip(), re.ASCII)
    if not match or float(match[1]) > 100:
        raise ValueError('expected a share of the customers such as "60%"')
    return float(match[1]) / 100


SHARE = Read("share", _share)


@click.command(
    help=f"Play LIST through the whole engine as it would go, in seconds, and send nothing.\n{LIST_HELP}"
    "Your configuration works on a database that is thrown away, with the sandbox in place of providers and senders:"
    " no call leaves this process, and your database is not opened. Time is stepped from one due time to the next."
    " You see each day's sessions, messages, results and cost, the highest rates, and what would need a person.\n\n"
    "What the customers do is assumed: say what you expect. The same --seed gives the same customers.\n\n"
    "Exit codes: 0 all is well; 1 something would need a person; 2 could not start; 3 rows would still wait for their"
    " first message at the end.\n\n"
    "\b\n"
    "onboard rehearse customers.csv --days 30\n"
    "onboard rehearse customers.csv --finish 45% --deny 5% --out calendar.csv\n"
)
@list_options
@click.option("--days", type=click.IntRange(1, 366), default=30, show_default=True, help="How many days are played.")
@click.option(
    "--first",
    "most",
    type=click.IntRange(1, 100_000),
    default=MOST_ROWS,
    show_default=True,
    help="Play the first N rows of LIST only. A thousand rows take some fifteen seconds.",
)
@click.option(
    "--start-at",
    type=Read("time", read_time),
    metavar="TIME",
    help="When the list would be sent, such as 2026-11-23T09:00+01:00.  [default: now]",
)
@click.option("--finish", type=SHARE, help="Customers who open their link and are approved.  [default: the rest, 60%]")
@click.option("--deny", type=SHARE, default="5%", show_default=True, help="Customers who are denied.")
@click.option("--leave", type=SHARE, default="5%", show_default=True, help="Customers who start, and do not finish.")
@click.option("--never", type=SHARE, help="Customers who never come.  [default: the rest]")
@click.option(
    "--within",
    type=Read("duration", parse_duration),
    default="3 days",
    show_default=True,
    help="Customers come between 1 hour and this time after their message.",
)
@click.option("--seed", type=click.IntRange(0, 2**31), default=1, show_default=True, help="Draws the customers.")
@click.option(
    "--out",
    type=Named(),
    help="Write each customer's events to this CSV file: day, time, what, channel, template, account, cost.",
)
@saying()
def rehearse(
    invocation: Invocation,
    /,
    listed: Listed,
    days: int,
    most: int,
    start_at: datetime | None,
    within: timedelta,
    seed: int,
    out: Path | None,
    **given: Any,
) -> Said:
    if within <= BEGIN:
        raise click.UsageError("--within is more than an hour")
    try:
        shares = shares_of(**given)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    # The sandbox's own words; there the rest never come.
    words = {"finish": "finish", "deny": "deny", "open": "leave"}
    played = tuple(Share(does, shares[name]) for does, name in words.items())
    settings = invocation.settings(NOTHING)
    start = (start_at or ProcessClock()()).replace(microsecond=0)
    with refusing(SettingsError), refusing_lists(listed.name), _progress(days) as progress:
        asked = Asked(listed, start, days, seed, customers=played, acts=(BEGIN, within), most=most)
        rehearsed = play(settings, asked, show=progress)
    facts, events = facts_of(settings, asked, rehearsed, shares)
    if out is not None:
        write_events(out, events)
    code = NEEDS_A_PERSON if facts["needs_a_person"] else LATER if facts["unsent"] else DONE
    return Said(facts, [*lines_of(facts, out)], SystemExit(code))


@contextmanager
def _progress(days: int) -> Iterator[Show]:
    """Shows on a terminal how many days have passed."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _days: None
        return
    columns = (
        TextColumn("rehearsing"),
        BarColumn(bar_width=24),
        TextColumn("day {task.completed:.0f} of {task.total:.0f}"),
    )
    with Progress(*columns, console=console, transient=True) as bars:
        task = bars.add_task("days", total=days)
        yield lambda passed: bars.update(task, completed=min(passed, days))
