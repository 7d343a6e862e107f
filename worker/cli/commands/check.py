"""`onboard check`: checks a list, and forecasts its cost and time; and what a person is shown of it."""

import json
from collections.abc import Mapping
from datetime import datetime
from itertools import chain, islice
from pathlib import Path
from typing import Any

import click

from onboarding_worker.cli.exits import COULD_NOT_START, DONE, NEEDS_A_PERSON, CannotStart
from onboarding_worker.cli.invocation import Invocation
from onboarding_worker.cli.lists.foreseen import (
    beside_corrected,
    channels_of,
    corrected_in_words,
    costs_in_words,
    end_in_words,
    foreseen,
    mix_in_words,
    most_in_all,
    reached_on,
)
from onboarding_worker.cli.lists.found_rows import SHOWN, ListFound, Streamed, read_through, unread_words
from onboarding_worker.cli.lists.listed import (
    Listed,
    block_for,
    changes_of,
    named_reasons,
    refused_by_run,
    refusing_lists,
)
from onboarding_worker.cli.lists.options import LIST_HELP, deadline_option, known_options, list_options
from onboarding_worker.cli.online import NOT_ASKED, USED_UP, WORKS, answers_of, in_words
from onboarding_worker.cli.running.summary import changed_in_words, changes_in_words, next_step
from onboarding_worker.cli.shared_options import JSON, Named, in_columns, print_json, whole_file
from onboarding_worker.core.foundation.features import hint
from onboarding_worker.core.foundation.notation import counted
from onboarding_worker.core.model.channels import CHANNELS
from onboarding_worker.core.model.customers import FieldProblem
from onboarding_worker.core.rules.budgets import BudgetState
from onboarding_worker.core.rules.text_numbers import EVERYWHERE, NAME_COUNTRIES
from onboarding_worker.http import event_loop
from onboarding_worker.lists.formats.opening import content_digest
from onboarding_worker.lists.lines import ListRefused
from onboarding_worker.lists.listing import CustomerList, open_list
from onboarding_worker.lists.options import ListOptions
from onboarding_worker.lists.returned import ReturnedReport
from onboarding_worker.lists.warned import Warned, problems_csv
from onboarding_worker.plans.store.plans import Plan, refuse_over
from onboarding_worker.reporting.batch_forecast import AWAITS_VERDICT
from onboarding_worker.reporting.report_lines import BYTE_ORDER_MARK
from onboarding_worker.reporting.standings import STANDINGS
from onboarding_worker.settings.needs import NOTHING, Need
from onboarding_worker.templates.checks import problems as problems_of_templates
from onboarding_worker.wiring.container import Parts
from onboarding_worker.wiring.templates import doubtful_templates

SHOWN_KINDS = 10
GOOD = (WORKS, USED_UP, NOT_ASKED)  # answers that need no person


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
    " each rejected row that can be mended alone. Mended there, the file can be checked and imported as a list.",
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
        asked = listed.options(parts)
        reading = _opened(parts, listed, asked)
        digest = content_digest(listed.content)
        found, report = read_through(parts, listed, asked, listed.choices(parts), reading, digest, deadline)
        judged = found.judged
        if parts.contact.countries is None and reached_on("sms", parts, found.cost.due):
            found.of_list.add(None, FieldProblem("", EVERYWHERE, NAME_COUNTRIES))
        asked_now = event_loop.run(answers_of(parts, judged.routes, channels_of(parts, judged))) if online else {}
        answers = {name: in_words(answer) for name, answer in asked_now.items()}
        facts, beside, judges_itself = _facts(parts, found, digest, answers, report)
        facts |= ({"online": answers} if online else {}) | changes_of(report)
        step, in_all = _next_step(parts, found, answers), most_in_all(parts, found.cost.due)
        reissues = parts.settings.follow_up.most
        facts["words"] = unread_words(found, reading, asked)
        beside += block_for(asked, parts.settings.import_, words={**dict.fromkeys(found.unread, ()), **facts["words"]})
        template_problems = problems_of_templates(parts.templates)
        doubts = doubtful_templates(parts.settings, parts.templates, reading.columns)
    if errors:
        with whole_file(errors, option="--errors") as out:
            out.write(BYTE_ORDER_MARK if excel else "")
            problems_csv(out, found.in_order(), originals=reading.originals(), delimiter=";" if excel else ",")
    if as_json:
        each = {"problems": Streamed(found.problems), "warnings": Streamed(*found.warnings)}
        print_json({"rows": facts["rows"], **each, **facts}, in_parts=True)
    else:
        without_end = "no end yet" if judges_itself else "cannot finish"
        lines = needs_in_words(facts, in_all=in_all, reissues=reissues, step=step, without_end=without_end)
        lines += _rows_in_words(found, facts, errors)
        if report is not None:
            lines += changes_in_words(report, judged.known)
        lines += beside
        for name, answer in answers.items():
            # A sender's answer says itself what to correct.
            is_clear = name in CHANNELS or answer in GOOD
            told = "" if is_clear else hint("doctor", "; `onboard doctor` says what to correct")
            lines.append(f"{name}: {answer}{told}")
        click.echo("\n".join(lines))
    if refused := facts["refused"]:
        click.echo(f"`onboard run` refuses this list now: {refused}", err=True)
    for problem in template_problems:
        click.echo(f"template: {problem}", err=True)
    for doubt in doubts:
        click.echo(f"warning: template: {doubt}", err=True)
    if listed.strict and judged.rejected:
        click.echo(f"refused: {judged.rejected} of {judged.total} rows have problems", err=True)
        raise SystemExit(COULD_NOT_START)
    silent = any(answer not in GOOD for answer in answers.values())
    ends = facts["forecast"]
    stuck = ends["limited_by"] is not None and ends["finishes_at"] is None and not judges_itself
    needs_a_person = judged.rejected or template_problems or silent or stuck or found.late
    raise SystemExit(NEEDS_A_PERSON if needs_a_person else DONE)


def _opened(parts: Parts, listed: Listed, asked: ListOptions) -> CustomerList:
    """The list. Raises CannotStart, which ends with the configuration that would read it."""
    try:
        return open_list(listed.content, asked)
    except ListRefused as error:
        lines = named_reasons(error, listed.name)
        if error.renames or error.unknown:
            lines += block_for(asked, parts.settings.import_, renames=error.renames, ignore=error.unknown)
        raise CannotStart("\n".join(lines)) from None


def _facts(
    parts: Parts, found: ListFound, digest: str, answers: Mapping[str, str], report: ReturnedReport | None
) -> tuple[dict[str, Any], list[str], bool]:
    """As --json prints them, but for problems and warnings; what features foresee beside the list, in words; and
    whether the list's end waits for a verdict that needs no person."""
    batch, of_calls = parts.batches.of_content(digest), found.cost.calls.batch
    planned = parts.batches.plan(batch) if batch is not None and batch.id == of_calls else None
    facts = foreseen(
        parts,
        found.judged,
        found.cost.due,
        [name for name, answer in answers.items() if answer in (WORKS, USED_UP)],
        apart=found.cost.beyond_cap(),
        batch=of_calls,
        report=report,
        planned=planned,
        alone=False,
        joined=found.cost.calls.joined,
    )
    beside = [one.foreseen(parts.settings, parts.database, parts.clock()) for one in STANDINGS.offered()]
    facts |= {
        "batch": batch.id if batch is not None else None,
        "unsent": sum(parts.facts.counts(batch.id).unsent.values()) if batch is not None else 0,
        "refused": refused_by_run(batch) or None,
        **(found.in_time.facts() if found.in_time is not None else {}),
        **{name: one for standing in beside for name, one in standing.facts.items()},
    }
    judges_itself = planned is not None and bool(planned.plan.condition and not planned.verdict)
    judges_itself = judges_itself and (facts["forecast"]["limited_by"] or "").startswith(AWAITS_VERDICT)
    return facts, [line for standing in beside for line in standing.lines], judges_itself


def _next_step(parts: Parts, found: ListFound, answers: Mapping[str, str]) -> str:
    """What an operator does about the first account or sender of the list that is stopped; "" if none is."""
    states, rules = parts.budgets.all(), parts.budget_rules.all()
    for name in (*found.judged.routes, *found.judged.messages):
        state = states.get(rules[name].name, BudgetState())
        if state.stopped_at is not None and answers.get(name) not in (WORKS, USED_UP):
            return f"; {next_step(name, state)}"
    return ""


def needs_in_words(facts: dict[str, Any], *, in_all: int, reissues: int, step: str, without_end: str) -> list[str]:
    """`in_all`: the most messages but those of corrected addresses, all channels together. `step`: what a person does
    about what is stopped. `without_end`: what is said before the reason for which no end is known."""
    rows = facts["rows"]
    known = f", {rows['known']:,} known" if "known" in rows else ""
    lines = [
        f"{click.style(counted(rows['total'], 'row'), bold=True)}: {rows['accepted']:,} accepted,"
        f" {rows['rejected']:,} rejected, {rows['duplicate']:,} duplicate{known}"
    ]
    if facts["changed_addresses"]:
        lines.append(changed_in_words(facts["changed_addresses"]))
    lines += corrected_in_words(facts.get("corrected", {}))
    if facts["routes"]:
        table = [("account", "rows", "calls now", "at most")]
        for account, number in facts["routes"].items():
            calls = facts["now"].get(account, 0), facts["credits"].get(account, 0)
            table.append((account, f"{number:,}", *(f"{one:,}" for one in calls)))
        lines += [*in_columns(table, right=lambda at: at > 0), _calls_in_words(facts, reissues)]
    if brands := facts.get("brands"):
        numbers = (f"{name or 'the default one'} {rows:,}" for name, rows in brands.items())
        lines.append(f"rows by brand: {', '.join(numbers)}")
    lines += [*mix_in_words(facts), *costs_in_words(facts)]
    messages = ", ".join(f"{number:,} {channel}" for channel, number in facts["messages"].items() if number)
    in_all += sum(facts.get("corrected", {}).get("messages", {}).values())
    # Each channel's own worst case; their sum is more than the cap allows.
    is_capped = in_all < sum(facts["messages"].values())
    capped = f", but {in_all:,} in total: messages_per_customer counts both" if is_capped else ""
    lines.append(f"messages at worst: {messages or 'none'}{capped}")
    if "plan" in facts:
        lines.append(f"plan: {facts['plan']}")
    return lines + end_in_words(facts["forecast"], sent="would be sent", without_end=without_end, step=step)


def _calls_in_words(facts: dict[str, Any], reissues: int) -> str:
    calls, rows = sum(facts["now"].values()), facts["rows"]["accepted"]
    none = f"{facts['served']:,} of {counted(rows, 'row')} need none: served, finished or held"
    served = f" ({none})" if facts["served"] else ""
    now = f"now{beside_corrected(facts)}"
    if not calls:
        return f"{now}: no calls{served}"
    again = f", with {counted(reissues, 'reissue')} each" if reissues else ""
    return f"{now}: {counted(calls, 'call')}{served}; at most{again}: {sum(facts['credits'].values()):,}"


def _rows_in_words(found: ListFound, facts: dict[str, Any], errors: Path | None) -> list[str]:
    """What the rows are: the messages that are not sent yet, the kinds of problems with how many rows have each, the
    first problems, warnings."""
    lines = list[str]()
    if facts["unsent"]:  # of rows that are served: their sessions are there
        messages = counted(facts["unsent"], "first message")
        batch = facts["batch"]
        lines.append(f"not sent yet: {messages} of batch {batch}, which `onboard status {batch}` shows")
    if number := len(found.problems):
        kinds = found.refusals.top(SHOWN_KINDS + 1)
        shown = [(f"{rows:,}", one.column or "the row", one.problem, one.hint) for rows, one in kinds[:SHOWN_KINDS]]
        if shown:
            titles = ("rows", "column", "such as", "what to do")
            table = in_columns([titles, *shown], right=lambda at: at == 0)
            lines += ["problems by kind:", *(f"  {line}" for line in table)]
        if len(kinds) > SHOWN_KINDS:
            lines.append("  … and more kinds")
        lines.append(f"the first {SHOWN}:" if number > SHOWN else "problems:")
        first = islice(found.problems, SHOWN)
        rows = [(f"{row:,}" if row else "", one.column or "the row", one.problem) for row, one in first]
        table = in_columns([("row", "column", "problem"), *rows], right=lambda at: at == 0)
        lines += [f"  {line}" for line in table]
        if number > SHOWN:
            where = f"see {errors}" if errors else "--errors FILE writes them all, with their rows"
            lines.append(f"… and {number - SHOWN:,} more problems; {where}")
    for column, words in facts["words"].items():
        told = ", ".join(f"{json.dumps(word, ensure_ascii=False)} {rows:,}" for word, rows in words.items())
        lines.append(f"words that are none in {column}: {told}")
    warned = Warned(chain.from_iterable(found.warnings)).kinds
    lines += [f"warning: {kind.in_words}" for kind in warned[:SHOWN]]
    if len(warned) > SHOWN:
        lines.append("… and more kinds of warnings")
    if len(warned) > SHOWN or any(kind.count > len(kind.rows) > 0 for kind in warned):
        lines.append(f"each warning with its row: {f'see {errors}' if errors else '--errors FILE writes them all'}")
    return lines + ([found.in_time.in_words()] if found.in_time is not None else [])
