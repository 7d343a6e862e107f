"""`onboard report`: the result of each row."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import click

from worker.cli.exits import CannotStart
from worker.cli.invocation import Invocation, find_kept, operator
from worker.engine.reporting.batch_report import Columns, write_csv, write_jsonl


@click.command()
@click.argument("batch")
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
    help="Add each session's link, if you send the links yourself. Anyone with a link can use it, so the audit log"
    " records this.",
)
@click.option(
    "--with-routes", is_flag=True, help="Add why each row's account was chosen (HTML reports always have it)."
)
@click.pass_obj
def report(
    invocation: Invocation, batch: str, form: str | None, out: Path | None, with_links: bool, with_routes: bool
) -> None:
    """Write the result of each row of BATCH (a number, or `latest`), with rejected rows.

    Columns: row, customer_id, state, result, account, reference, issued_at, expires_at, invitation, attempts,
    waits, error, action. docs/states.md explains states and reasons. Times are ISO 8601 UTC. Safe to open in a
    spreadsheet.

    \b
    onboard report latest --out report.html
    onboard report 3 --format jsonl
    """
    form = form or (out.suffix[1:] if out and out.suffix in (".csv", ".jsonl", ".html") else "csv")
    with invocation.parts(migrate=True) as parts:
        found = find_kept(parts, batch)
        with opened(out) as stream:
            if with_links:
                parts.facts.audit(
                    actor=operator(), action="report with links", subject=f"batch {found.id}", now=parts.clock()
                )
            lines = parts.facts.lines(found.id, with_links=with_links)
            if form == "html":
                from worker.engine.reporting.html_report import write_html

                count = write_html(
                    stream, parts.reporting.status(found), lines, with_link=with_links, now=parts.clock()
                )
            else:
                write = write_csv if form == "csv" else write_jsonl
                count = write(stream, lines, Columns(links=with_links, routes=with_routes))
    if out:
        click.echo(f"{count:,} rows written to {out}", err=True)


@contextmanager
def opened(out: Path | None) -> Iterator[TextIO]:
    """A report is written to a temporary file and then renamed: never half a report. Only its owner can read it."""
    if out is None:
        yield sys.stdout
        return
    if out.exists() and not out.is_file():  # a pipe or a device: written to, not replaced
        with out.open("w", encoding="utf-8", newline="") as stream:
            yield stream
        return
    part = out.with_name(f".{out.name}.part")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        raise CannotStart(f"--out: {error.strerror or 'cannot be written'}") from None
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as stream:
            yield stream
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)
