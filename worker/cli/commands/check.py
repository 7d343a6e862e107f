"""`onboard check`: checks a list, and forecasts its cost and time; and what a person is shown of it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, islice
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from worker.cli.exits import COULD_NOT_START, DONE, NEEDS_A_PERSON, CannotStart
from worker.cli.invocation import Invocation
from worker.cli.lists.foreseen import (
    channels_of,
    corrected_in_words,
    costs_in_words,
    foreseen,
    messages_in_all,
    reached_on,
)
from worker.cli.lists.found_rows import SHOWN, FoundRows, ListFound, Streamed
from worker.cli.lists.listed import (
    Listed,
    as_facts,
    block_for,
    named_reasons,
    refused_by_run,
    refusing_lists,
    returns_of,
)
from worker.cli.lists.options import LIST_HELP, known_options, list_options
from worker.cli.online import NOT_ASKED, USED_UP, WORKS, answers_of, in_words
from worker.cli.plan_options import deadline_option
from worker.cli.running.summary import changed_in_words, next_step, show_changes
from worker.cli.shared_options import JSON, Named, print_json, print_table, whole_file
from worker.core.customers.customers import FieldProblem
from worker.core.features import hint
from worker.core.foundation.notation import counted
from worker.core.limits.budgets import BudgetState
from worker.core.messages.text_numbers import EVERYWHERE, NAME_COUNTRIES
from worker.core.model.channels import CHANNELS
from worker.http import event_loop
from worker.lists.formats.opening import content_digest
from worker.lists.importing.judging import judge_all
from worker.lists.lines import ListRefused, Settles
from worker.lists.listing import CustomerList, open_list
from worker.lists.options import ListOptions
from worker.lists.own_files import OwnFile
from worker.lists.warned import Originals, Refusals, problems_csv, warned_of
from worker.plans.store.plans import Plan, refuse_over
from worker.reporting.batch_forecast import AWAITS_VERDICT
from worker.reporting.report_lines import BYTE_ORDER_MARK
from worker.reporting.standings import STANDINGS
from worker.reporting.store.outlook import CallsNow
from worker.settings.needs import NOTHING, Need
from worker.settings.policies import texted_countries
from worker.templates.checks import problems as problems_of_templates
from worker.wiring.container import Parts
from worker.wiring.templates import doubtful_templates

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
    type=Named(),
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
@JSON
@click.pass_obj
def check(
    invocation: Invocation,
    listed: Listed,
    errors: Path | None,
    excel: bool,
    online: bool,
    deadline: datetime | None,
    as_json: bool,
) -> None:
    if excel and errors is None:
        raise click.UsageError("--excel is about the file of --errors")
    needs = frozenset({Need.CALLS, Need.SENDING}) if online else NOTHING
    with invocation.parts(needs, migrate=True, or_empty=True) as parts, refusing_lists(listed.name):
        refuse_over(Plan(deadline=deadline), now=parts.clock())
        checked = _checked(parts, listed, deadline=deadline, online=online)
    if errors:
        _write_errors(errors, checked.found, checked.reading.originals(), excel=excel)
    if as_json:
        found = {"problems": Streamed(checked.found.problems), "warnings": Streamed(*checked.found.warnings)}
        print_json({"rows": checked.facts["rows"], **found, **checked.facts}, in_parts=True)
    else:
        _show(checked, errors)
    if refused := checked.facts["refused"]:
        click.echo(f"`onboard run` refuses this list now: {refused}", err=True)
    for problem in checked.template_problems:
        click.echo(f"template: {problem}", err=True)
    for doubt in checked.template_doubts:
        click.echo(f"warning: template: {doubt}", err=True)
    judged = checked.found.judged
    if listed.strict and judged.rejected:
        click.echo(f"refused: {judged.rejected} of {judged.total} rows have problems", err=True)
        raise SystemExit(COULD_NOT_START)
    raise SystemExit(NEEDS_A_PERSON if checked.needs_a_person else DONE)


@dataclass(frozen=True)
class _Checked:
    """What is known of a list."""

    found: ListFound
    reading: CustomerList
    returns: Settles
    facts: dict[str, Any]  # as --json prints them, but for problems and warnings
    answers: Mapping[str, str]  # of senders and accounts, with --online
    template_problems: Sequence[str]
    template_doubts: Sequence[str]
    in_all: int  # messages, with those of all reissues
    reissues: int
    next_step: str
    import_block: Sequence[str]  # the configuration that would read the list without options
    judges_itself: bool  # whether the list's end waits for a verdict that needs no person
    beside: Sequence[str]  # what features foresee beside the list, in words

    @property
    def needs_a_person(self) -> bool:
        silent = any(answer not in (WORKS, USED_UP, NOT_ASKED) for answer in self.answers.values())
        stuck = self.facts["forecast"]["limited_by"] is not None and self.facts["forecast"]["finishes_at"] is None
        stuck = stuck and not self.judges_itself
        return bool(self.found.judged.rejected or self.template_problems or silent or stuck or self.found.late)


def _checked(parts: Parts, listed: Listed, *, deadline: datetime | None, online: bool) -> _Checked:
    """Read and judge the list, and find out what it would cost and take."""
    asked, choices = listed.options(parts), listed.choices(parts)
    template_problems = problems_of_templates(parts.templates)
    reading = _opened(parts, listed, asked)
    digest = content_digest(listed.content)
    calls = CallsNow(parts.database, digest=digest, rule=choices.rule)
    returns = returns_of(parts, asked, listed.name, choices, reading).foreseeing()
    found = ListFound(parts, calls, deadline)
    for line in judge_all(parts.intake, parts.batches, reading, choices, returns=returns):
        found.add(line)
    found.finish(reading)
    judged, due = found.judged, found.cost.due
    if texted_countries(parts.settings) is None and reached_on("sms", parts, due):
        found.of_list.add(None, FieldProblem("", EVERYWHERE, NAME_COUNTRIES))
    asked_now = event_loop.run(answers_of(parts, judged.routes, channels_of(parts, judged))) if online else {}
    answers = {name: in_words(answer) for name, answer in asked_now.items()}
    answering = [name for name, answer in answers.items() if answer in (WORKS, USED_UP)]
    batch = parts.batches.of_content(digest)
    planned = parts.batches.plan(batch) if batch is not None and batch.id == calls.batch else None
    apart = found.cost.beyond_cap()
    facts = foreseen(parts, judged, due, answering, apart=apart, batch=calls.batch, planned=planned, alone=False)
    beside = [one.foreseen(parts.settings, parts.database, parts.clock()) for one in STANDINGS.offered()]
    facts |= {
        "batch": batch.id if batch is not None else None,
        "unsent": sum(parts.facts.counts(batch.id).unsent.values()) if batch is not None else 0,
        "refused": refused_by_run(batch) or None,
        **found.in_time.facts(),
        **{name: one for standing in beside for name, one in standing.facts.items()},
    }
    if online:
        facts["online"] = answers
    if reading.own is OwnFile.REPORT:
        facts["changes"] = as_facts(returns.changes)
    return _Checked(
        found=found,
        reading=reading,
        returns=returns,
        facts=facts,
        answers=answers,
        template_problems=template_problems,
        template_doubts=doubtful_templates(parts.settings, parts.templates, reading.columns),
        in_all=messages_in_all(parts, due),
        reissues=parts.settings.follow_up.most,
        next_step=_next_step(parts, [name for name in (*judged.routes, *judged.messages) if name not in answering]),
        import_block=block_for(asked, parts.settings.import_, unread=found.unread),
        judges_itself=planned is not None
        and bool(planned.plan.condition and not planned.verdict)
        and (facts["forecast"]["limited_by"] or "").startswith(AWAITS_VERDICT),
        beside=[line for standing in beside for line in standing.lines],
    )


def _show(checked: _Checked, errors: Path | None) -> None:
    found, facts = checked.found, checked.facts
    without_end = "no end yet" if checked.judges_itself else "cannot finish"
    show_needs(facts, in_all=checked.in_all, reissues=checked.reissues, step=checked.next_step, without_end=without_end)
    if facts["unsent"]:  # of rows that are served: their sessions are there
        messages = counted(facts["unsent"], "first message")
        batch = facts["batch"]
        click.echo(f"not sent yet: {messages} of batch {batch}, which `onboard status {batch}` shows")
    show_problems(found.problems, found.refusals, errors)
    show_warnings(found.warnings, errors)
    if in_time := found.in_time.in_words():
        click.echo(in_time)
    if checked.reading.own is OwnFile.REPORT:
        show_changes(checked.returns.changes, found.judged.known - checked.returns.corrected, err=False)
    for text in (*checked.beside, *checked.import_block):
        click.echo(text)
    for name, answer in checked.answers.items():
        # A sender's answer says itself what to correct.
        is_clear = name in CHANNELS or answer in (WORKS, USED_UP, NOT_ASKED)
        click.echo(f"{name}: {answer}{'' if is_clear else hint('doctor', '; `onboard doctor` says what to correct')}")


def _next_step(parts: Parts, names: Collection[str]) -> str:
    """What an operator does about the first of these accounts and senders that is stopped; "" if none is."""
    states, rules = parts.budgets.all(), parts.budget_rules.all()
    for name in names:
        state = states.get(rules[name].name, BudgetState())
        if state.stopped_at is not None:
            return f"; {next_step(name, state)}"
    return ""


def _opened(parts: Parts, listed: Listed, asked: ListOptions) -> CustomerList:
    """The list. Raises CannotStart, which ends with the configuration that would read it."""
    try:
        return open_list(listed.content, asked)
    except ListRefused as error:
        lines = named_reasons(error, listed.name)
        if error.renames or error.unknown:
            lines += block_for(asked, parts.settings.import_, renames=error.renames, ignore=error.unknown)
        raise CannotStart("\n".join(lines)) from None


def _write_errors(path: Path, found: ListFound, originals: Originals, *, excel: bool) -> None:
    with whole_file(path, option="--errors") as out:
        out.write(BYTE_ORDER_MARK if excel else "")
        problems_csv(out, found.in_order(), originals=originals, delimiter=";" if excel else ",")


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
        titles = ["rows", "column", "such as", "what to do"]
        print_table([titles, *shown], right=lambda at: at == 0, indent="  ")
    if len(kinds) > SHOWN_KINDS:
        click.echo("  … and more kinds")
    click.echo(f"the first {SHOWN}:" if len(problems) > SHOWN else "problems:")
    first = [[f"{row:,}" if row else "", one.column or "the row", one.problem] for row, one in islice(problems, SHOWN)]
    print_table([["row", "column", "problem"], *first], right=lambda at: at == 0, indent="  ")
    if len(problems) > SHOWN:
        where = f"see {errors}" if errors else "--errors FILE writes them all, with their rows"
        click.echo(f"… and {len(problems) - SHOWN:,} more problems; {where}")


def show_warnings(warnings: Collection[FoundRows], errors: Path | None) -> None:
    console = _console()
    kinds = warned_of(chain.from_iterable(warnings)).kinds
    for kind in kinds[:SHOWN]:
        console.print(f"warning: {kind.in_words}", markup=False)
    if len(kinds) > SHOWN:
        click.echo("… and more kinds of warnings")
    if len(kinds) > SHOWN or any(kind.count > len(kind.rows) > 0 for kind in kinds):
        click.echo(f"each warning with its row: {f'see {errors}' if errors else '--errors FILE writes them all'}")
