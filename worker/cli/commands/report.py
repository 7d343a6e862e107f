"""`onboard report`: the result of each row."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from worker.cli.completions import Batch
from worker.cli.exits import NEEDS_A_PERSON, CannotStart
from worker.cli.invocation import Invocation, find_kept
from worker.cli.whole_file import whole_file
from worker.domain.model.needs import STORED
from worker.engine.reporting.batch_report import write_csv, write_excel, write_jsonl
from worker.foundation.plural import counted
from worker.store.audit.entries import note_alone
from worker.store.operators.report_rows import LineFacts

OTHER_FORMATS = (".xlsx", ".xls", ".ods", ".pdf", ".json", ".parquet", ".htm")


@click.command()
@click.argument("batch", type=Batch())
@click.option(
    "--format",
    "form",
    type=click.Choice(["csv", "jsonl", "html"]),
    help="The report's format.  [default: by the suffix of --out, else csv]",
)
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="Write to this file.  [default: standard output]"
)
@click.option(
    "--with-links",
    is_flag=True,
    help="Add each session's link, digits and vendor's values, if you send the links yourself. Anyone with a link can"
    " use it, so the audit log records this.",
)
@click.option(
    "--excel", is_flag=True, help="CSV as Excel opens it by a double-click: with semicolons and a byte order mark."
)
@click.option(
    "--with-routes", is_flag=True, help="Add why each row's account was chosen (HTML reports always have it)."
)
@click.pass_obj
def report(
    invocation: Invocation,
    batch: str,
    form: str | None,
    out: Path | None,
    with_links: bool,
    excel: bool,
    with_routes: bool,
) -> None:
    """Write the result of each row of BATCH (a number, or `latest`), with rejected rows.

    Columns: row, customer_id, state, result, account, reference, issued_at, expires_at, invitation, attempts,
    waits, error, action, next_at. For a row that waits, error says for what, and next_at until when. docs/states.md
    explains states and reasons. Times are ISO 8601 UTC. Safe to open in a spreadsheet.

    \b
    onboard report latest --out report.html
    onboard report latest --out report.csv --excel
    onboard report 3 --format jsonl
    """
    form = form or _form_of(out)
    if excel and form != "csv":
        raise click.UsageError("--excel is for CSV")
    with invocation.parts(STORED, migrate=True) as parts:
        found = find_kept(parts, batch)
        with whole_file(out) as stream:
            if with_links:
                note_alone(parts.database, f"batch {found.id}", now=parts.clock(), reason="with links")
            columns = parts.reporting.columns(found, links=with_links, routes=with_routes)
            unreadable = Unreadable()
            lines = unreadable.of(parts.facts.lines(found.id, with_links=with_links))
            if form == "html":
                from worker.engine.reporting.html_report import write_html

                count = write_html(
                    stream,
                    parts.reporting.status(found),
                    lines,
                    with_link=with_links,
                    now=columns.now,
                    blocked=columns.blocked,
                )
            else:
                write = write_jsonl if form == "jsonl" else write_excel if excel else write_csv
                count = write(stream, lines, columns)
    if out:
        click.echo(f"{counted(count, 'row')} written to {out}", err=True)
    if unreadable.count:
        click.echo(f"{counted(unreadable.count, 'link')} cannot be decrypted: the column `error` says why", err=True)
        raise SystemExit(NEEDS_A_PERSON)


class Unreadable:
    """Counts the lines whose links no key decrypts."""

    def __init__(self) -> None:
        self.count = 0

    def of(self, lines: Iterable[LineFacts]) -> Iterator[LineFacts]:
        for line in lines:
            self.count += bool(line.unreadable)
            yield line


def _form_of(out: Path | None) -> str:
    """The format by the file's suffix. Raises CannotStart for a suffix that promises what would not be in the file."""
    suffix = out.suffix.lower() if out else ""
    if suffix in OTHER_FORMATS:
        raise CannotStart(f"--out: no report is written as {suffix}; use .csv (--excel for Excel), .jsonl or .html")
    return suffix[1:] if suffix in (".csv", ".jsonl", ".html") else "csv"
