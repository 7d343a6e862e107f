"""`onboard check`: checks a list, and forecasts its cost and time."""

import json
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from worker.cli.exits import COULD_NOT_START, DONE, NEEDS_A_PERSON, CannotStart
from worker.cli.invocation import Invocation
from worker.cli.list_options import LIST_HELP, Listed, list_options, refusing_lists
from worker.domain.contact.quiet_hours import allowed_at
from worker.domain.intake import ListOptions, problems_csv
from worker.domain.limits.forecast import Forecast, forecast, through_nights
from worker.domain.model.customers import FieldProblem
from worker.engine.container import Parts
from worker.engine.reporting.batch_report import loads_of
from worker.foundation.timestamps import written_if_any
from worker.inbound.list_import import Judged, count, judge_list, problems_of
from worker.store.onboarding.new_rows import RefusedLine

SHOWN_PROBLEMS = 10


@click.command(
    help=f"Check LIST and forecast its cost and time. Sends nothing and imports nothing.\n{LIST_HELP}"
    "Shows which rows would be rejected and why, which account would serve each other row, the highest possible cost,"
    " and how long the list would take.\n\n"
    "Exit codes: 0 all rows are good; 1 rows would be rejected, or a template has a problem; 2 could not start, or"
    " --strict refuses the list.\n\n"
    "\b\n"
    "onboard check customers.csv --errors problems.csv\n"
    "onboard check customers.csv --map Mail=email --ignore-column Notes\n"
)
@list_options
@click.option(
    "--errors",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the problems to this CSV file: row,column,problem,hint.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the facts as one JSON document.")
@click.pass_obj
def check(
    invocation: Invocation,
    listed: Listed,
    options: Callable[[Parts], ListOptions],
    strict: bool,
    errors: Path | None,
    as_json: bool,
) -> None:
    with invocation.parts(migrate=True) as parts, refusing_lists():
        template_problems = parts.templates.problems()
        judged = Judged()
        problems: list[tuple[int, FieldProblem]] = []
        for line in judge_list(parts.intake, listed.content, options(parts)):
            count(judged, line, parts.hours)
            if isinstance(line, RefusedLine):
                problems += [(line.row, problem) for problem in problems_of(line)]
        facts = _facts(parts, judged, problems)
        in_all = _messages_in_all(parts, judged)
    if errors:
        _write_errors(errors, problems)
    if as_json:
        click.echo(json.dumps(facts, ensure_ascii=False))
    else:
        _show(facts, problems, errors, in_all)
    for problem in template_problems:
        click.echo(f"template: {problem}", err=True)
    if strict and judged.rejected:
        click.echo(f"refused: {judged.rejected} of {judged.total} rows have problems", err=True)
        raise SystemExit(COULD_NOT_START)
    raise SystemExit(NEEDS_A_PERSON if judged.rejected or template_problems else DONE)


def _facts(parts: Parts, judged: Judged, problems: list[tuple[int, FieldProblem]]) -> dict[str, Any]:
    settings = parts.settings
    sessions = 1 + settings.reissue.most  # at worst: every link expires unused
    messages = min(settings.invitations.messages_per_customer, _on_a_channel(parts))
    fallback = parts.delivery_policy.fallback

    def reached_on(channel: str) -> int:
        """The rows that may get a message on this channel, as the fallback too."""
        spare = judged.spare.get(channel, 0) if channel == fallback else 0
        return judged.messages.get(channel, 0) + spare

    loads = loads_of(parts.budgets, parts.budget_rules, judged.routes, judged.messages)
    ends = _by_day(parts, judged, forecast(loads, now=parts.clock()))
    return {
        "rows": {
            "total": judged.total,
            "accepted": judged.accepted,
            "rejected": judged.rejected,
            "duplicate": judged.duplicate,
        },
        "problems": [
            {"row": row, "column": found.column, "problem": found.problem, "hint": found.hint}
            for row, found in problems
        ],
        "routes": dict(sorted(judged.routes.items())),
        "credits": {account: rows * sessions for account, rows in sorted(judged.routes.items())},
        "messages": {channel: reached_on(channel) * messages for channel in ("email", "sms")},
        "forecast": {
            "finishes_at": written_if_any(ends.finishes_at),
            "limited_by": ends.limited_by,
        },
    }


def _on_a_channel(parts: Parts) -> int:
    """The most messages that a customer gets on one channel, without the cap."""
    return (1 + parts.settings.reissue.most) * (1 + len(parts.settings.invitations.reminders))


def _messages_in_all(parts: Parts, judged: Judged) -> int:
    """The most messages over all channels: `messages_per_customer` counts all channels together."""
    cap, fallback = parts.settings.invitations.messages_per_customer, parts.delivery_policy.fallback

    def most(channels: tuple[str, ...], spare: tuple[str, ...]) -> int:
        reached = {*channels, *({fallback} & {*spare})}
        return min(cap, len(reached) * _on_a_channel(parts))

    return sum(rows * most(*reach) for reach, rows in judged.reach.items())


def _by_day(parts: Parts, judged: Judged, ends: Forecast) -> Forecast:
    """The forecast with the quiet hours of most customers: work that is not done before them continues after them."""
    now = parts.clock()
    if ends.finishes_at is None:
        return ends
    for channel in {channel for channel, _ in judged.nights}:
        zones, _ = Counter({zones: n for (on, zones), n in judged.nights.items() if on == channel}).most_common(1)[0]
        awake = partial(allowed_at, zones, parts.hours.quiet[channel])
        finishes_at = through_nights(ends.finishes_at - now, awake, now=now)
        if finishes_at > ends.finishes_at:
            ends = Forecast(finishes_at, f"{ends.limited_by}; quiet hours on {channel}")
    return ends


def _write_errors(path: Path, problems: list[tuple[int, FieldProblem]]) -> None:
    try:
        with path.open("w", encoding="utf-8", newline="") as out:
            problems_csv(out, problems)
    except OSError as error:
        raise CannotStart(f"--errors: {error.strerror or 'cannot be written'}") from None


def _show(facts: dict[str, Any], problems: list[tuple[int, FieldProblem]], errors: Path | None, in_all: int) -> None:
    console = Console(highlight=False, soft_wrap=True)
    rows = facts["rows"]
    console.print(
        f"[bold]{rows['total']:,}[/] rows: {rows['accepted']:,} accepted, {rows['rejected']:,} rejected,"
        f" {rows['duplicate']:,} duplicate"
    )
    if facts["routes"]:
        table = Table("account", "rows", "credits at worst", box=None, pad_edge=False, padding=(0, 2))
        for account, count_ in facts["routes"].items():
            table.add_row(account, f"{count_:,}", f"{facts['credits'][account]:,}")
        console.print(table)
    messages = ", ".join(f"{number:,} {channel}" for channel, number in facts["messages"].items() if number)
    # Each channel's own worst case; their sum is more than the cap allows.
    capped = (
        f", but {in_all:,} in total: messages_per_customer counts both"
        if in_all < sum(facts["messages"].values())
        else ""
    )
    console.print(f"messages at worst: {messages or 'none'}{capped}")
    ends = facts["forecast"]
    if ends["finishes_at"]:
        console.print(f"would be sent by {ends['finishes_at']} (limited by {ends['limited_by']})", markup=False)
    elif ends["limited_by"]:
        console.print(f"cannot finish: {ends['limited_by']}", markup=False)
    for row, found in problems[:SHOWN_PROBLEMS]:
        hint = f" ({found.hint})" if found.hint else ""
        where = f"row {row}, {found.column}" if found.column else f"row {row}"
        console.print(f"{where}: {found.problem}{hint}", markup=False)
    if len(problems) > SHOWN_PROBLEMS:
        where = f"see {errors}" if errors else "--errors FILE writes them all"
        console.print(f"… and {len(problems) - SHOWN_PROBLEMS:,} more problems; {where}", markup=False)
