"""`onboard check`: checks a list, and forecasts its cost and time."""

import json
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from worker.cli.exits import COULD_NOT_START, DONE, NEEDS_A_PERSON, CannotStart
from worker.cli.import_block import block_for
from worker.cli.invocation import Invocation
from worker.cli.list_cost import ListCost, cost_of, in_json
from worker.cli.list_options import LIST_HELP, Listed, list_options, refusing_lists
from worker.cli.online import NOT_ASKED, WORKS, ask
from worker.cli.run_summary import next_step
from worker.cli.whole_file import whole_file
from worker.domain.contact.quiet_hours import allowed_at
from worker.domain.intake import CustomerList, ListOptions, ListRefused, content_digest, open_list, problems_csv
from worker.domain.intake.problems import Severity
from worker.domain.limits.budgets import BudgetState
from worker.domain.limits.forecast import Forecast, forecast, through_nights
from worker.domain.model.customers import FieldProblem
from worker.domain.model.needs import NOTHING, Need
from worker.engine.adapters import doubtful_templates
from worker.engine.container import Parts
from worker.engine.reporting.batch_report import loads_of
from worker.foundation import event_loop
from worker.foundation.plural import counted
from worker.foundation.timestamps import written_if_any
from worker.inbound.list_import import Judged, count, judge_all, problems_of
from worker.store.onboarding.calls_now import CallsNow
from worker.store.onboarding.new_rows import AcceptedLine, RefusedLine

SHOWN_PROBLEMS = 10
Found = tuple[int | None, FieldProblem]  # the row, and its problem or warning; None: the whole list


@click.command(
    help=f"Check LIST and forecast its cost and time. Sends nothing and imports nothing.\n{LIST_HELP}"
    "Shows which rows would be rejected and why, which account would serve each other row, the highest possible cost,"
    " and how long the list would take.\n\n"
    "A warning does not reject its row: a bad value in a column that nothing uses, for example.\n\n"
    "Exit codes: 0 all rows are good; 1 rows would be rejected, the list cannot finish, a template has a problem, or"
    " with --online a sender or provider does not work; 2 could not start, or --strict refuses the list.\n\n"
    "\b\n"
    "onboard check customers.csv --errors problems.csv\n"
    "onboard check customers.csv --map Mail=email --ignore-column Notes --dates DD.MM.YYYY\n"
)
@list_options
@click.option(
    "--errors",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the problems and warnings to this CSV file: row,column,problem,hint,severity.",
)
@click.option(
    "--online",
    is_flag=True,
    help="Also log in to the senders and providers that the list uses, with calls that send and cost nothing.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the facts as one JSON document.")
@click.pass_obj
def check(
    invocation: Invocation,
    listed: Listed,
    options: Callable[[Parts], ListOptions],
    strict: bool,
    allow_erased: bool,
    errors: Path | None,
    online: bool,
    as_json: bool,
) -> None:
    needs = frozenset({Need.CALLS, Need.SENDING}) if online else NOTHING
    with invocation.parts_to_read(needs) as parts, refusing_lists():
        template_problems = parts.templates.problems()
        template_doubts = doubtful_templates(parts.settings, parts.templates)
        judged = Judged()
        problems: list[Found] = []
        warnings: list[Found] = []
        asked = options(parts)
        reading = _opened(parts, listed, asked)
        cost = ListCost(parts, CallsNow(parts.database, digest=content_digest(listed.content)))
        for line in judge_all(parts.intake, parts.batches, reading, allow_erased=allow_erased):
            count(judged, line, parts.hours)
            if isinstance(line, AcceptedLine):
                cost.add(line)
            if isinstance(line, RefusedLine):
                problems += [(line.row, problem) for problem in problems_of(line)]
            warnings += [(line.row, warning) for warning in line.warnings]
        cost.finish()
        warnings += cost.shared
        of_all = [*(FieldProblem("", text) for text in reading.warnings), *filter(None, [reading.hint])]
        warnings[:0] = [(None, warning) for warning in of_all]
        answers = event_loop.run(ask(parts, judged.routes, _channels(parts, judged))) if online else {}
        answering = [name for name, answer in answers.items() if answer == WORKS]
        facts = _facts(parts, judged, cost.due, problems, warnings, answering)
        in_all = _messages_in_all(parts, cost.due)
        step = _next_step(parts, [name for name in (*judged.routes, *judged.messages) if name not in answering])
    if errors:
        _write_errors(errors, problems, warnings)
    if online:
        facts["online"] = answers
    if as_json:
        click.echo(json.dumps(facts, ensure_ascii=False))
    else:
        most = parts.settings.reissue.most
        _show(facts, problems, warnings, errors, in_all=in_all, reissues=most, step=step)
        for text in block_for(asked, parts.settings.import_):
            click.echo(text)
        for name, answer in answers.items():
            click.echo(f"{name}: {answer}")
    for problem in template_problems:
        click.echo(f"template: {problem}", err=True)
    for doubt in template_doubts:
        click.echo(f"warning: template: {doubt}", err=True)
    if strict and judged.rejected:
        click.echo(f"refused: {judged.rejected} of {judged.total} rows have problems", err=True)
        raise SystemExit(COULD_NOT_START)
    silent = any(answer not in (WORKS, NOT_ASKED) for answer in answers.values())
    stuck = facts["forecast"]["limited_by"] is not None and facts["forecast"]["finishes_at"] is None
    raise SystemExit(NEEDS_A_PERSON if judged.rejected or template_problems or silent or stuck else DONE)


def _next_step(parts: Parts, names: Collection[str]) -> str:
    """What an operator does about the first of these accounts and senders that is stopped; "" if none is."""
    states, rules = parts.budgets.all(), parts.budget_rules.all()
    for name in names:
        state = states.get(rules[name].name, BudgetState())
        if state.stopped_at is not None:
            return f"; {next_step(name, state)}"
    return ""


def _channels(parts: Parts, judged: Judged) -> list[str]:
    """The channels that messages of the list may be sent on."""
    used = {*judged.messages, *({parts.delivery_policy.fallback} if judged.messages else ())}
    return [channel for channel in parts.channels if channel in used]


def _opened(parts: Parts, listed: Listed, asked: ListOptions) -> CustomerList:
    """The list. Raises CannotStart, which ends with the configuration that would read it."""
    try:
        return open_list(listed.content, asked)
    except ListRefused as error:
        lines = list(error.reasons)
        if error.renames or error.unknown:
            lines += block_for(asked, parts.settings.import_, renames=error.renames, ignore=error.unknown)
        raise CannotStart("\n".join(lines)) from None


def _facts(
    parts: Parts,
    judged: Judged,
    due: Judged,
    problems: list[Found],
    warnings: list[Found],
    answering: Collection[str],
) -> dict[str, Any]:
    """`due`: the rows for which a session is asked for now. `answering`: the senders and accounts that work now."""
    settings = parts.settings
    sessions = 1 + settings.reissue.most  # at worst: every link expires unused
    messages = min(settings.invitations.messages_per_customer, _on_a_channel(parts))
    fallback = parts.delivery_policy.fallback

    def reached_on(channel: str) -> int:
        """The rows that may get a message on this channel, as the fallback too."""
        spare = due.spare.get(channel, 0) if channel == fallback else 0
        return due.messages.get(channel, 0) + spare

    loads = loads_of(parts.budgets, parts.budget_rules, due.routes, due.messages, answering=answering)
    ends = _by_day(parts, due, forecast(loads, now=parts.clock()))
    now = dict(sorted(due.routes.items()))
    at_most = {account: rows * sessions for account, rows in now.items()}
    most_messages = {channel: reached_on(channel) * messages for channel in ("email", "sms")}
    cost_now = cost_of(settings, now, due.messages)
    cost_at_most = cost_of(settings, at_most, most_messages)
    return {
        "rows": {
            "total": judged.total,
            "accepted": judged.accepted,
            "rejected": judged.rejected,
            "duplicate": judged.duplicate,
        },
        "problems": [_as_facts(row, found) for row, found in problems],
        "warnings": [_as_facts(row, found) for row, found in warnings],
        "routes": dict(sorted(judged.routes.items())),
        "served": judged.accepted - due.accepted,
        "now": now,
        "credits": at_most,
        "messages": most_messages,
        **({"cost": {"now": in_json(cost_now), "at_most": in_json(cost_at_most)}} if cost_at_most else {}),
        "forecast": {
            "finishes_at": written_if_any(ends.finishes_at),
            "limited_by": ends.limited_by,
            "assumed": ends.assumed,
        },
    }


def _as_facts(row: int | None, found: FieldProblem) -> dict[str, Any]:
    return {"row": row, "column": found.column, "problem": found.problem, "hint": found.hint}


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
            ends = replace(ends, finishes_at=finishes_at, limited_by=f"{ends.limited_by}; quiet hours on {channel}")
    return ends


def _write_errors(path: Path, problems: list[Found], warnings: list[Found]) -> None:
    errors: list[tuple[int | None, FieldProblem, Severity]] = [(row, found, "error") for row, found in problems]
    errors += [(row, found, "warning") for row, found in warnings]
    with whole_file(path, option="--errors") as out:
        problems_csv(out, sorted(errors, key=lambda one: one[0] or 0))


def _show(
    facts: dict[str, Any],
    problems: list[Found],
    warnings: list[Found],
    errors: Path | None,
    *,
    in_all: int,
    reissues: int,
    step: str,
) -> None:
    console = Console(highlight=False, soft_wrap=True)
    rows = facts["rows"]
    console.print(
        f"[bold]{counted(rows['total'], 'row')}[/]: {rows['accepted']:,} accepted, {rows['rejected']:,} rejected,"
        f" {rows['duplicate']:,} duplicate"
    )
    if facts["routes"]:
        table = Table("account", "rows", "calls now", "at most", box=None, pad_edge=False, padding=(0, 2))
        for account, count_ in facts["routes"].items():
            calls = facts["now"].get(account, 0), facts["credits"].get(account, 0)
            table.add_row(account, f"{count_:,}", *(f"{number:,}" for number in calls))
        console.print(table)
        console.print(_calls_in_words(facts, reissues))
    for words, amounts in facts.get("cost", {}).items():
        prices = ", ".join(f"{amount} {currency}" for currency, amount in amounts.items())
        console.print(f"cost {words.replace('_', ' ')}: {prices}")
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
        roughly = "roughly " if ends["assumed"] else ""
        console.print(
            f"would be sent by {roughly}{ends['finishes_at']} (limited by {ends['limited_by']})", markup=False
        )
    elif ends["limited_by"]:
        console.print(f"cannot finish: {ends['limited_by']}{step}", markup=False)
    _show_found(console, problems, "", "problems", errors)
    _show_found(console, warnings, "warning: ", "warnings", errors)


def _calls_in_words(facts: dict[str, Any], reissues: int) -> str:
    calls, rows = sum(facts["now"].values()), facts["rows"]["accepted"]
    served = f" ({facts['served']:,} of {counted(rows, 'row')} already served)" if facts["served"] else ""
    if not calls:
        return f"now: no calls{served}"
    again = f", with {counted(reissues, 'reissue')} each" if reissues else ""
    return f"now: {counted(calls, 'call')}{served}; at most{again}: {sum(facts['credits'].values()):,}"


def _show_found(console: Console, found: list[Found], prefix: str, plural: str, errors: Path | None) -> None:
    for row, one in found[:SHOWN_PROBLEMS]:
        hint = f" ({one.hint})" if one.hint else ""
        where = ", ".join(filter(None, (f"row {row}" if row else "", one.column))) or "the list"
        console.print(f"{prefix}{where}: {one.problem}{hint}", markup=False)
    if len(found) > SHOWN_PROBLEMS:
        where = f"see {errors}" if errors else "--errors FILE writes them all"
        console.print(f"… and {len(found) - SHOWN_PROBLEMS:,} more {plural}; {where}", markup=False)
