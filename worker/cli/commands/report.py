"""`onboard report`: the result of each row, or who was invited and has not finished."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO, TextIO, TypeVar

import click

from onboarding_worker.cli.completions import Batch
from onboarding_worker.cli.exits import NEEDS_A_PERSON, CannotStart
from onboarding_worker.cli.invocation import Invocation, find_kept
from onboarding_worker.cli.lists.options import YEARS, read_time
from onboarding_worker.cli.shared_options import JSON, OUT, Read, print_json_or, whole_file
from onboarding_worker.core.database.audit_entries import note_alone
from onboarding_worker.core.foundation.notation import counted, written, written_if_any
from onboarding_worker.reporting.prices import Prices, as_facts, names_of, report_of, row_facts, rows_of, table_of
from onboarding_worker.reporting.report_lines import line_values, write_csv, write_jsonl, write_table
from onboarding_worker.reporting.store.ledger import Nonresponder, nonresponders
from onboarding_worker.reporting.store.report_rows import LineFacts, with_own_links
from onboarding_worker.reporting.store.spending import figures_of, spending_of
from onboarding_worker.settings.needs import COUNTED, STORED
from onboarding_worker.settings.policies import stable_links

NONRESPONDER_COLUMNS = (
    *("batch", "row", "customer_id", "purpose", "state", "account", "invited_at"),
    *("messages", "last_at", "last_channel", "last_fate", "history"),
)

Made = TypeVar("Made")

ALL = "all"  # in place of a batch
ROWS, NONRESPONDERS = KINDS = ("rows", "nonresponders")
FORMATS = ("csv", "jsonl", "html", "xlsx")


def _day(text: str) -> date | None:
    with suppress(ValueError):
        return datetime.strptime(text.strip(), "%Y-%m-%d").date()  # noqa: DTZ007 -- a day has no zone
    return None


def read_day_or_time(text: str) -> datetime:
    """Read a time with its zone, or a day, which ends by UTC. Raises ValueError."""
    if (day := _day(text)) is not None:
        return datetime.combine(day, time.max, UTC)
    try:
        return read_time(text)
    except ValueError as error:
        raise ValueError(f"{error}; or a day, such as 2026-11-27") from None


def read_day(text: str) -> date:
    """Read a day. Raises ValueError."""
    day = _day(text)
    if day is None:
        raise ValueError("expected a day, such as 2026-11-30")
    if day.year not in YEARS:
        raise ValueError(f"expected a day before the year {YEARS.stop}, and not before {YEARS.start}")
    return day


def _as_cells(one: Nonresponder) -> list[Any]:
    """By the columns of `NONRESPONDER_COLUMNS`."""
    facts = _as_facts(one)
    messages = facts.pop("messages")
    last, history = messages[-1], "; ".join(_in_words(message) for message in messages)
    return [*facts.values(), len(messages), last["at"], last["channel"], last["state"], history]


def _as_facts(one: Nonresponder) -> dict[str, Any]:
    messages = [message._asdict() | {"at": written_if_any(message.at)} for message in one.messages]
    facts = one._asdict() | {"invited_at": written(one.invited_at), "messages": messages}
    return {"batch": facts.pop("batch_id"), **facts}


def _in_words(message: dict[str, Any]) -> str:
    """One message for people: 2026-11-20T09:00:00Z email invitation delivered."""
    why = f" ({message['reason']})" if message["reason"] else ""
    return f"{message['at'] or 'no time'} {message['channel']} {message['kind']} {message['state']}{why}"


@click.command()
@click.argument("batch", type=Batch(), required=False)
@click.option(
    "--from",
    "first",
    type=Read("DAY", read_day),
    help="In place of BATCH, a period of all lists and events: how many were invited and finished, and the cost, in"
    " all, by account, by route and by week. Days are UTC.",
)
@click.option("--to", "last", type=Read("DAY", read_day), help="The last day of the period.  [default: today]")
@click.option(
    "--kind",
    type=click.Choice(KINDS),
    default=ROWS,
    show_default=True,
    help="Each row; or the customers who were invited (--by) and have not finished, for a call, a letter, a block: CSV"
    " or JSON lines.",
)
@click.option(
    "--by",
    type=Read("DATE", read_day_or_time),
    help="Nonresponders: invited by then. A day, such as 2026-11-27 (it ends by UTC), or a time with its zone.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    help="The report's format.  [default: by the suffix of --out, else csv; of a period without --out a text]",
)
@OUT
@JSON
@click.option(
    "--with-links",
    is_flag=True,
    help="Add each session's link, digits and vendor's values, if you send the links yourself. Anyone with a link can"
    " use it, so the audit log records this.",
)
@click.option(
    "--with-details",
    is_flag=True,
    help="Add the customers' details (email, phone, names, columns for messages, …): mend them in a spreadsheet, and"
    " give the file to `onboard run`. The audit log records this.",
)
@click.option(
    "--excel",
    is_flag=True,
    help="For Excel: CSV with semicolons, dates and a byte order mark, as a double-click opens it; or XLSX.",
)
@click.option(
    "--with-routes", is_flag=True, help="Add why each row's account was chosen, and its brand (always in HTML reports)."
)
@click.pass_obj
def report(
    invocation: Invocation,
    batch: str | None,
    first: date | None,
    last: date | None,
    kind: str,
    by: datetime | None,
    form: str | None,
    out: Path | None,
    as_json: bool,
    with_links: bool,
    with_details: bool,
    excel: bool,
    with_routes: bool,
) -> None:
    """Write the result of each row of BATCH (a number, or `latest`), with rejected rows: CSV, JSON lines, a page, XLSX.

    With --kind nonresponders: who has not finished, with each message: when, on which channel, and what became of it.
    BATCH is `all` for those of all batches. Customers in review have submitted and are not listed.

    With --from and --to, which --json needs: a period of all lists and events. A customer is counted on the day of the
    first message (invited) and of the end (finished), a call and a message on the day it was made. Add up the batches'
    reports, and you get the same.

    Columns: row, customer_id, state, result, reasons, account, reference, issued_at, expires_at, invitation, attempts,
    waits, error, action, next_at. For a row that waits, error says for what, and next_at until when.
    docs/reference/states.md explains states and reasons. Times are ISO 8601 UTC. Safe to open in a spreadsheet.

    \b
    onboard report latest --out report.html
    onboard report latest --out report.xlsx
    onboard report latest --out report.csv --excel
    onboard report latest --out todo.csv --with-details --excel
    onboard report 3 --format jsonl
    onboard report all --kind nonresponders --by 2026-11-27 --out call-these.csv
    onboard report --from 2026-11-01 --to 2026-11-30
    onboard report --from 2026-11-01 --to 2026-11-30 --out november.html
    """
    if first is not None or last is not None:
        if kind != ROWS or by is not None or with_links or with_details or with_routes:
            raise click.UsageError("--from and --to take --json, --format, --out and --excel alone")
        if batch not in (None, ALL):
            raise click.UsageError("--from and --to count all batches: leave BATCH out")
        _write_period(invocation, first, last, form, out, as_json=as_json, excel=excel)
        return
    if batch is None:
        raise click.UsageError("give BATCH, such as `latest`; or --from and --to for a period of all batches")
    if as_json:
        raise click.UsageError("--json is for --from and --to; rows of a batch are JSON lines: --format jsonl")
    form = form or _form_of(out)
    if kind == NONRESPONDERS:
        if with_links or with_details or excel or with_routes or form not in ("csv", "jsonl"):
            raise click.UsageError("--kind nonresponders is CSV or JSON lines, and has no other options than --by")
        if by is None:
            raise click.UsageError("--kind nonresponders needs --by DATE: the customers who were invited by then")
        _write_nonresponders(invocation, batch, by, form, out)
        return
    if by is not None:
        raise click.UsageError("--by is for --kind nonresponders")
    if excel and form not in ("csv", "xlsx"):
        raise click.UsageError("--excel is for CSV and XLSX")
    if with_details and form == "html":
        raise click.UsageError("--with-details is for CSV, XLSX and JSON lines, which can be mended")
    secret = {"with links": with_links, "with details": with_details}
    with invocation.parts(STORED if any(secret.values()) else COUNTED, migrate=True) as parts:
        found = find_kept(parts, batch)
        with whole_file(out) as stream:
            for reason in (words for words, asked in secret.items() if asked):
                note_alone(parts.database, f"batch {found.id}", now=parts.clock(), reason=reason)
            details = parts.message_columns if with_details else None
            routes = with_routes or form == "html"
            columns = parts.reporting.columns(found, links=with_links, routes=routes, details=details)
            lines = parts.facts.lines(found.id, with_links=with_links, with_details=with_details)
            if with_links and (own := stable_links(parts.settings)) is not None:
                lines = with_own_links(parts.database, parts.keyring, own, lines, now=columns.now)
            unreadable = 0

            def noted() -> Iterator[LineFacts]:
                nonlocal unreadable
                for line in lines:
                    unreadable += bool(line.unreadable)
                    yield line

            if form == "html":
                from onboarding_worker.reporting.html_report import write_html

                spending, prices = spending_of(parts.database, found.id), Prices.of(parts.settings)
                facts = parts.operation.report().with_what_is_worked(parts.reporting.status(found))
                count = write_html(stream, facts, noted(), columns, spending, prices)
            elif form == "xlsx":
                from onboarding_worker.reporting.xlsx_report import write_xlsx

                facts = parts.reporting.status(found)
                count = _in_place(stream, lambda made: write_xlsx(made, facts, noted(), columns))
            elif form == "jsonl":
                count = write_jsonl(stream, (line_values(line, columns) for line in noted()))
            else:
                count = write_csv(stream, noted(), columns, excel=excel)
    if out:
        click.echo(f"{counted(count, 'row')} written to {out}", err=True)
    if unreadable:
        click.echo(f"{counted(unreadable, 'row')} cannot be read as a whole: the column `error` says why", err=True)
        raise SystemExit(NEEDS_A_PERSON)


def _write_nonresponders(invocation: Invocation, batch: str, by: datetime, form: str, out: Path | None) -> None:
    with invocation.parts(COUNTED, migrate=True) as parts:
        batch_id = None if batch == ALL else find_kept(parts, batch).id
        with whole_file(out) as stream:
            found = nonresponders(parts.database, by=by, batch_id=batch_id)
            if form == "jsonl":
                count = write_jsonl(stream, map(_as_facts, found))
            else:
                count = write_table(stream, NONRESPONDER_COLUMNS, map(_as_cells, found))
    if out:
        click.echo(f"{counted(count, 'customer')} written to {out}", err=True)


def _write_period(
    invocation: Invocation,
    first: date | None,
    last: date | None,
    form: str | None,
    out: Path | None,
    *,
    as_json: bool,
    excel: bool,
) -> None:
    from onboarding_worker.reporting import xlsx_report

    if first is None:
        raise click.UsageError("give --from too: the first day of the period")
    if last is not None and first > last:
        raise click.UsageError(f"--from {first} is after --to {last}")
    if as_json and (form or excel):
        raise click.UsageError("--json is a form of its own: leave --format and --excel out")
    form = "json" if as_json else form or (_form_of(out) if out else "csv" if excel else "text")
    if excel and form not in ("csv", "xlsx"):
        raise click.UsageError("--excel is for CSV and XLSX")
    with invocation.parts(COUNTED, migrate=True) as parts:
        last = last or max(first, parts.clock().astimezone(UTC).date())
        begins, ends = (datetime.combine(day, time.min, UTC) for day in (first, last + timedelta(days=1)))
        found = figures_of(parts.database, begins=begins, ends=ends)
        report = report_of(*found, Prices.of(parts.settings), first=first, last=last)
        with whole_file(out) as stream:
            if form == "xlsx":
                names, rows = names_of(report), rows_of(report)
                _in_place(stream, lambda made: xlsx_report.write_table(made, "Period", names, rows))
            elif form == "html":
                from onboarding_worker.reporting.html_report import write_period  # imported here: Jinja

                write_period(stream, report, now=parts.clock())
            elif form == "csv":
                write_table(stream, names_of(report), rows_of(report), excel=excel)
            elif form == "jsonl":
                write_jsonl(stream, row_facts(report))
            else:
                print_json_or(as_facts(report), table_of(report), as_json=as_json, out=stream)
    if out:
        click.echo(f"the period is written to {out}", err=True)


def _in_place(stream: TextIO, write: Callable[[BinaryIO], Made]) -> Made:
    """Write a workbook. It is made in a file without a name first: its writer goes back in it."""
    if stream.isatty():
        raise CannotStart("a workbook is no text: write it to a file with --out report.xlsx")
    with TemporaryFile() as made:
        became = write(made)
        made.seek(0)
        shutil.copyfileobj(made, stream.buffer)
    return became


def _form_of(out: Path | None) -> str:
    """The format by the file's suffix. Raises CannotStart for a suffix that promises what would not be in the file."""
    suffix = out.suffix.lower() if out else ""
    if suffix in (".xls", ".ods", ".pdf", ".json", ".parquet", ".htm"):
        raise CannotStart(f"--out: no report is written as {suffix}; use .csv, .xlsx, .jsonl or .html")
    return suffix[1:] if suffix[1:] in FORMATS else "csv"
