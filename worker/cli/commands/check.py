"""`onboard check`: checks a list, and forecasts its cost and time."""

import heapq
import json
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from worker.cli.exits import COULD_NOT_START, DONE, NEEDS_A_PERSON, CannotStart
from worker.cli.invocation import Invocation
from worker.cli.lists.cost import ListCost, in_json
from worker.cli.lists.deadline import InTime
from worker.cli.lists.found_rows import SHOWN, FoundRows, Streamed
from worker.cli.lists.import_block import block_for
from worker.cli.lists.options import LIST_HELP, Listed, known_options, list_options, refusing_lists, returns_of
from worker.cli.lists.warned import kinds_of
from worker.cli.online import NOT_ASKED, USED_UP, WORKS, ask
from worker.cli.plan_options import deadline_option
from worker.cli.running.summary import next_step, show_changes
from worker.cli.whole_file import whole_file
from worker.domain.contact.fallback_channel import following
from worker.domain.contact.quiet_hours import allowed_at
from worker.domain.contact.text_numbers import EVERYWHERE, NAME_COUNTRIES
from worker.domain.intake import CustomerList, ListOptions, ListRefused, content_digest, open_list, problems_csv
from worker.domain.intake.own_files import OwnFile
from worker.domain.intake.problems import Originals, Severity
from worker.domain.intake.refusals import Refusals
from worker.domain.limits.budgets import BudgetState
from worker.domain.limits.forecast import Forecast, forecast, through_nights
from worker.domain.model.customers import Channel, FieldProblem, invitation_channels
from worker.domain.model.known_customers import Known
from worker.domain.model.needs import NOTHING, Need
from worker.engine.adapters import doubtful_templates
from worker.engine.container import Parts
from worker.engine.prices import Prices
from worker.engine.reporting.batch_report import loads_of
from worker.engine.reporting.report_lines import BYTE_ORDER_MARK
from worker.engine.reporting.text_hours import with_country_cap
from worker.engine.steps.policies import buys_on_click, ladder_of, reminders_of, texted_countries
from worker.foundation import event_loop
from worker.foundation.plural import counted
from worker.foundation.timestamps import written_if_any
from worker.inbound.judging import Judged, count, judge_all, problems_of
from worker.store.onboarding.calls_now import CallsNow
from worker.store.onboarding.new_rows import AcceptedLine, RefusedLine
from worker.store.onboarding.plans import Plan, refuse_over

SHOWN_KINDS = 10


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
@known_options
@click.option(
    "--errors",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the problems and warnings to this CSV file: row,column,problem,hint,severity, and LIST's own columns of"
    " each rejected row. Mended there, the file can be checked and imported as a list.",
)
@click.option("--excel", is_flag=True, help="Write --errors for a double-click in Excel: semicolons, byte order mark.")
@click.option(
    "--online",
    is_flag=True,
    help="Also log in to the senders and providers that the list uses, with calls that send and cost nothing.",
)
@deadline_option
@click.option("--json", "as_json", is_flag=True, help="Print the facts as one JSON document.")
@click.pass_obj
def check(
    invocation: Invocation,
    listed: Listed,
    options: Callable[[Parts], ListOptions],
    rule: Callable[[Parts], Known],
    strict: bool,
    allow_erased: bool,
    errors: Path | None,
    excel: bool,
    online: bool,
    deadline: datetime | None,
    as_json: bool,
) -> None:
    if excel and errors is None:
        raise click.UsageError("--excel is about the file of --errors")
    needs = frozenset({Need.CALLS, Need.SENDING}) if online else NOTHING
    with invocation.parts_to_read(needs) as parts, refusing_lists():
        refuse_over(Plan(deadline=deadline), now=parts.clock())
        template_problems = parts.templates.problems()
        template_doubts = doubtful_templates(parts.settings, parts.templates)
        judged = Judged()
        problems, of_list, of_rows = FoundRows(), FoundRows(), FoundRows()
        asked = options(parts)
        reading = _opened(parts, listed, asked)
        shared = FoundRows()
        calls = CallsNow(parts.database, digest=content_digest(listed.content), rule=rule(parts))
        cost = ListCost(parts, calls, shared=shared.add)
        returns = returns_of(parts, asked, listed.name).foreseeing()
        refusals = Refusals()
        in_time = InTime(parts.intake, deadline)
        for line in judge_all(parts.intake, parts.batches, reading, allow_erased=allow_erased, returns=returns):
            count(judged, line, parts.hours)
            in_time.add(line)
            if isinstance(line, AcceptedLine):
                cost.add(line)
            if isinstance(line, RefusedLine):
                for found in problems_of(line):
                    problems.add(line.row, found)
                if line.problems:
                    refusals.add(line.problems)
            for warning in line.warnings:
                of_rows.add(line.row, warning)
        cost.finish()
        late = in_time.late()
        for warned in reading.warnings:
            of_list.add(None, FieldProblem("", warned))
        if reading.hint is not None:
            of_list.add(None, reading.hint)
        if texted_countries(parts.settings) is None and _reached_on("sms", parts, cost.due):
            of_list.add(None, FieldProblem("", EVERYWHERE, NAME_COUNTRIES))
        warnings = (of_list, of_rows, shared, late)
        answers = event_loop.run(ask(parts, judged.routes, _channels(parts, judged))) if online else {}
        answering = [name for name, answer in answers.items() if answer in (WORKS, USED_UP)]
        facts = facts_of(parts, judged, cost.due, answering, apart=cost.beyond_cap())
        in_all = _messages_in_all(parts, cost.due)
        step = _next_step(parts, [name for name in (*judged.routes, *judged.messages) if name not in answering])
    facts |= in_time.facts()
    if errors:
        _write_errors(errors, problems, warnings, reading.originals(), excel=excel)
    if online:
        facts["online"] = answers
    if reading.own is OwnFile.REPORT:
        facts["changes"] = [
            {"row": one.row, "customer_id": one.customer_id, "what": one.what} for one in returns.changes
        ]
    if as_json:
        lines = {"problems": Streamed(problems), "warnings": Streamed(*warnings)}
        facts = {"rows": facts["rows"], **lines, **facts}
        sys.stdout.writelines(json.JSONEncoder(ensure_ascii=False).iterencode(facts))
        click.echo()
    else:
        most = parts.settings.reissue.most
        _show(facts, problems, warnings, errors, refusals, in_all=in_all, reissues=most, step=step)
        if deadline is not None:
            click.echo(in_time.in_words())
        if reading.own is OwnFile.REPORT:
            show_changes(returns.changes, judged.known - returns.corrected, err=False)
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
    silent = any(answer not in (WORKS, USED_UP, NOT_ASKED) for answer in answers.values())
    stuck = facts["forecast"]["limited_by"] is not None and facts["forecast"]["finishes_at"] is None
    raise SystemExit(NEEDS_A_PERSON if judged.rejected or template_problems or silent or stuck or late else DONE)


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
    used = {channel for of in judged.reach for channel in _reached(parts, *of)}
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


def facts_of(
    parts: Parts,
    judged: Judged,
    due: Judged,
    answering: Collection[str],
    *,
    apart: Sequence[str],
) -> dict[str, Any]:
    """`due`: the rows for which a session is asked for now. `answering`: the senders and accounts that work now.
    `apart`: what the forecast leaves out, in words."""
    settings = parts.settings
    sessions = 1 + settings.reissue.most  # at worst: every link expires unused
    messages = min(settings.invitations.messages_per_customer, _on_a_channel(parts))
    calls = dict(sorted(due.routes.items()))
    # Bought on click, only the sessions of rows without a message are asked for now.
    now = {account: due.unsent.get(account, 0) for account in calls} if buys_on_click(settings) else calls
    loads = loads_of(parts.budgets, parts.budget_rules, now, due.messages, answering=answering)
    ends = forecast(loads, now=parts.clock())
    ends = with_country_cap(ends, parts.delivery_policy.texts_per_country, due.texts, sent={}, now=parts.clock())
    ends = _by_day(parts, due, ends)
    at_most = {account: rows * sessions for account, rows in calls.items()}
    # A reader of the document finds email and sms always, and another channel where it has a sender.
    shown = dict.fromkeys([*invitation_channels(Channel.BOTH), *settings.sending])
    most_messages = {channel: _reached_on(channel, parts, due) * messages for channel in shown}
    prices = Prices.of(settings)
    cost_now = prices.total(now, due.messages)
    cost_at_most = prices.total(at_most, most_messages)
    unpriced = prices.missing(at_most, {channel: number for channel, number in most_messages.items() if number})
    return {
        "rows": {
            "total": judged.total,
            "accepted": judged.accepted,
            "rejected": judged.rejected,
            "duplicate": judged.duplicate,
            **({"known": judged.known} if judged.known else {}),
        },
        "routes": dict(sorted(judged.routes.items())),
        "served": judged.accepted - due.accepted,
        "now": now,
        "credits": at_most,
        "messages": most_messages,
        **({"cost": {"now": in_json(cost_now), "at_most": in_json(cost_at_most)}} if cost_at_most else {}),
        **({"without_price": unpriced} if cost_at_most else {}),
        "forecast": {
            "finishes_at": written_if_any(ends.finishes_at),
            "limited_by": ends.limited_by,
            "assumed": ends.assumed,
            **({"apart": apart} if apart else {}),
        },
    }


def _reached_on(channel: str, parts: Parts, due: Judged) -> int:
    """The rows that may get a message on this channel, as the fallback or by the ladder too."""
    return sum(rows for of, rows in due.reach.items() if channel in _reached(parts, *of))


def _reached(parts: Parts, channels: tuple[str, ...], spare: tuple[str, ...]) -> frozenset[str]:
    """The channels that a customer may get a message on. `spare` are those that it has an address for and did not ask
    for."""
    asked = {*channels, *(ladder_of(parts.settings).channels & {*spare})}
    fallbacks = parts.delivery_policy.fallbacks
    return frozenset(asked | ({other for one in asked for other in following(one, fallbacks)} & {*spare}))


def _on_a_channel(parts: Parts) -> int:
    """The most messages that a customer gets on one channel, without the cap."""
    return (1 + parts.settings.reissue.most) * (1 + len(reminders_of(parts.settings)))


def _messages_in_all(parts: Parts, judged: Judged) -> int:
    """The most messages over all channels: `messages_per_customer` counts all channels together."""
    cap = parts.settings.invitations.messages_per_customer

    def most(channels: tuple[str, ...], spare: tuple[str, ...]) -> int:
        return min(cap, len(_reached(parts, channels, spare)) * _on_a_channel(parts))

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


def _write_errors(
    path: Path,
    problems: FoundRows,
    warnings: Iterable[FoundRows],
    originals: Originals,
    *,
    excel: bool,
) -> None:
    def each(found: FoundRows, severity: Severity) -> Iterator[tuple[int | None, FieldProblem, Severity]]:
        return ((row, one, severity) for row, one in found)

    # Each has its findings in the order of the rows.
    parts = (each(problems, "error"), *(each(one, "warning") for one in warnings))
    ordered = heapq.merge(*parts, key=lambda one: one[0] or 0)
    with whole_file(path, option="--errors") as out:
        out.write(BYTE_ORDER_MARK if excel else "")
        problems_csv(out, ordered, originals=originals, delimiter=";" if excel else ",")


def _show(
    facts: dict[str, Any],
    problems: FoundRows,
    warnings: Collection[FoundRows],
    errors: Path | None,
    refusals: Refusals,
    *,
    in_all: int,
    reissues: int,
    step: str,
) -> None:
    console = Console(highlight=False, soft_wrap=True)
    rows = facts["rows"]
    console.print(
        f"[bold]{counted(rows['total'], 'row')}[/]: {rows['accepted']:,} accepted, {rows['rejected']:,} rejected,"
        f" {rows['duplicate']:,} duplicate{', ' + format(rows['known'], ',') + ' known' if 'known' in rows else ''}"
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
    if facts.get("without_price"):
        console.print(f"  without a price, and so not in it: {', '.join(facts['without_price'])}")
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
    for words in ends.get("apart", ()):
        console.print(f"apart from that: {words}", markup=False)
    _show_problems(problems, refusals, errors)
    _show_warnings(console, warnings, errors)


def _calls_in_words(facts: dict[str, Any], reissues: int) -> str:
    calls, rows = sum(facts["now"].values()), facts["rows"]["accepted"]
    served = f" ({facts['served']:,} of {counted(rows, 'row')} already served)" if facts["served"] else ""
    if not calls:
        return f"now: no calls{served}"
    again = f", with {counted(reissues, 'reissue')} each" if reissues else ""
    return f"now: {counted(calls, 'call')}{served}; at most{again}: {sum(facts['credits'].values()):,}"


def _show_problems(problems: FoundRows, refusals: Refusals, errors: Path | None) -> None:
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
    _show_rest(len(problems), "problems", errors)


def _as_table(titles: list[str], rows: list[list[str]]) -> None:
    """Lines that are never cut or folded: programs and people search them. The first column is a number."""
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    for row in (titles, *rows):
        cells = [row[0].rjust(widths[0]), *(cell.ljust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        click.echo(f"  {'  '.join(cells)}".rstrip())


def _show_warnings(console: Console, warnings: Collection[FoundRows], errors: Path | None) -> None:
    kinds = kinds_of(chain.from_iterable(warnings))
    for kind in kinds[:SHOWN]:
        console.print(f"warning: {kind.in_words}", markup=False)
    if len(kinds) > SHOWN:
        click.echo("… and more kinds of warnings")
    if len(kinds) > SHOWN or any(kind.count > len(kind.rows) > 0 for kind in kinds):
        click.echo(f"each warning with its row: {f'see {errors}' if errors else '--errors FILE writes them all'}")


def _show_rest(number: int, plural: str, errors: Path | None) -> None:
    if number > SHOWN:
        where = f"see {errors}" if errors else "--errors FILE writes them all, with their rows"
        click.echo(f"… and {number - SHOWN:,} more {plural}; {where}")
