"""`onboard reconcile`: compares a batch with the provider's export and the sender's log."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import click

from onboarding_worker.cli.completions import AccountName, Batch
from onboarding_worker.cli.exits import NEEDS_A_PERSON, CannotStart
from onboarding_worker.cli.invocation import Said, find_kept, saying
from onboarding_worker.cli.lists.listed import refusing_lists
from onboarding_worker.cli.lists.options import read_time
from onboarding_worker.cli.shared_options import Named, Read, whole_file
from onboarding_worker.core.foundation.notation import counted
from onboarding_worker.core.model.channels import CHANNELS
from onboarding_worker.features.reconcile.columns import MESSAGE_KEYS, PROVIDER, SENDER, SESSION_KEYS, Difference, Found
from onboarding_worker.features.reconcile.comparing import STAGES, Reconciliation, Rules, Table
from onboarding_worker.features.reconcile.store.books import OurBooks, Scratch
from onboarding_worker.lists.lines import ListRefused
from onboarding_worker.lists.listing import open_table
from onboarding_worker.lists.options import ListOptions, Vocabulary
from onboarding_worker.reporting.prices import Prices
from onboarding_worker.reporting.report_lines import write_jsonl, write_table
from onboarding_worker.settings.needs import STORED
from onboarding_worker.wiring.container import Parts

SHOWN, IN_JSON = 20, 1000
NEEDED = {"provider": (*SESSION_KEYS, "external_ref", "customer_id"), "sender": (*MESSAGE_KEYS, "to", "customer_id")}
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
COLUMNS = (*Found._fields, "meaning", "what_to_do")


@click.command()
@click.argument("batch", type=Batch())
@click.option("--provider", "exports", multiple=True, type=FILE, help="The provider's own export. Repeatable.")
@click.option("--sender", "logs", multiple=True, type=FILE, help="The log of a sender of email or SMS. Repeatable.")
@click.option(
    "--map",
    "mapped",
    multiple=True,
    metavar="THEIRS=OURS",
    help="Read the files' column THEIRS as our column OURS, such as Ref=scan_ref. Repeatable.",
)
@click.option("--sheet", metavar="NAME", help="The sheet of a workbook that has several.")
@click.option("--since", type=Read("time", read_time), help="The bill's period begins: a time with its zone.")
@click.option("--until", type=Read("time", read_time), help="The bill's period ends before this time.")
@click.option(
    "--charged-from",
    type=click.Choice(STAGES),
    default=STAGES[0],
    show_default=True,
    help="Which sessions the provider charges: all that were issued, or those started or finished, as far as we know.",
)
@click.option(
    "--account",
    "accounts",
    multiple=True,
    type=AccountName(),
    help="An account that the exports cover. Repeatable.  [default: those that have a row in them]",
)
@click.option(
    "--channel",
    "channels",
    multiple=True,
    type=click.Choice([*CHANNELS]),
    help="A channel that the logs cover. Repeatable.  [default: those that have a row in them]",
)
@click.option("--out", type=Named(), help="Write all differences to this file: .csv or .jsonl.")
@saying(STORED, migrate=True)
def reconcile(
    parts: Parts,
    batch: str,
    exports: tuple[Path, ...],
    logs: tuple[Path, ...],
    mapped: tuple[str, ...],
    sheet: str | None,
    out: Path | None,
    charged_from: str,
    **covers: Any,
) -> Said:
    """Compare BATCH (a number, or `latest`) with the provider's own export, and with the sender's log.

    Which sessions were paid for and are unknown to us, which are ours and were never billed, which were billed twice or
    at another price; which messages left without our knowledge, and which did not leave. Sessions and messages of other
    batches are counted and are no difference. Columns, and what to do about each kind: docs/features/reconcile.md.

    \b
    onboard reconcile 7 --provider idenfy.csv --sender twilio.csv --sender postmark.csv
    onboard reconcile latest --provider bill.xlsx --map 'Verification ref=scan_ref' --out differences.csv

    Exit codes: 0 no difference; 1 differences; 2 could not start.
    """
    if not exports and not logs:
        raise click.UsageError("give --provider FILE, --sender FILE, or both")
    if out is not None and out.suffix.lower() not in (".csv", ".jsonl"):
        raise CannotStart("--out: differences are written as .csv or .jsonl")
    mapping = _mapping(mapped)
    with Scratch() as scratch, refusing_lists():
        found = find_kept(parts, batch)
        if unknown := set(covers["accounts"]) - set(parts.settings.accounts):
            raise CannotStart(f"--account: there is no account {min(unknown)!r} in the configuration")
        provided = [(path, _table(parts, path, "provider", mapping, sheet)) for path in exports]
        logged = [(path, _table(parts, path, "sender", mapping, sheet)) for path in logs]
        prices = Prices.of(parts.settings).accounts
        rules = Rules(**covers, charged_from=STAGES.index(charged_from), prices=prices)
        books = Reconciliation(scratch, OurBooks(parts.database, parts.keyring), found.id, rules)
        books.load()
        for path, table in provided:
            with _named(path):
                books.provider(table)
        for path, table in logged:
            with _named(path):
                books.sender(table)
        books.finish(provider=bool(exports), sender=bool(logs))
        if out is not None:
            rows = map(_row, _all(scratch))
            with whole_file(out) as stream:
                if out.suffix.lower() == ".csv":
                    write_table(stream, COLUMNS, (list(one.values()) for one in rows))
                else:
                    write_jsonl(stream, rows)
        kinds = {str(kind): scratch.counts[kind] for kind in Difference if scratch.counts[kind]}
        facts = {"batch": found.id, "differences": scratch.counts.total(), "kinds": kinds}
        facts |= {"compared": dict(books.counts), "not_compared": books.uncompared}
        facts |= {"rows": [_row(one) for one in islice(_all(scratch, IN_JSON), IN_JSON)]}
        lines = [*_lines(found.id, books, scratch, out)]
    return Said(facts, lines, SystemExit(NEEDS_A_PERSON) if facts["differences"] else None)


def _mapping(mapped: Iterable[str]) -> dict[str, str]:
    found = {}
    for text in mapped:
        theirs, equals, ours = text.partition("=")
        if not (theirs and equals) or ours not in {*PROVIDER, *SENDER}:
            known = ", ".join(dict.fromkeys((*PROVIDER, *SENDER)))
            raise click.UsageError(f"--map: expected THEIRS=OURS, where OURS is one of {known}")
        found[theirs] = ours
    return found


def _table(parts: Parts, path: Path, kind: str, mapping: Mapping[str, str], sheet: str | None) -> Table:
    names = PROVIDER if kind == "provider" else SENDER
    own = {theirs: ours for theirs, ours in mapping.items() if ours in names}
    vocabulary = Vocabulary(names, own, NEEDED[kind])
    options = ListOptions(today=parts.clock().date(), vocabulary=vocabulary, sheet=sheet)
    with _named(path):
        table, warnings = open_table(path, options)
    for warning in (*warnings, *table.warnings):
        click.echo(f"warning: {path.name}: {warning}", err=True)
    return table


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Names the file in what refuses it: there are several."""
    try:
        yield
    except ListRefused as error:
        raise ListRefused([f"{path.name}: {reason}" for reason in error.reasons]) from None


def _all(scratch: Scratch, most: int = -1) -> Iterator[Found]:
    for kind in Difference:
        yield from scratch.differences(kind, most)


def _row(found: Found) -> dict[str, Any]:
    return {**found._asdict(), "meaning": found.kind.meaning, "what_to_do": found.kind.what_to_do}


# What was counted and is no difference, in words.
COUNTED = {
    "provider_outside_batch": "rows of the export that are of other batches",
    "sender_outside_batch": "rows of the log that are of other batches",
    "known_orphans": "sessions of the export that are known as lost, since a call was answered too late, or not at all",
    "not_charged_yet": "sessions that have not come as far as the provider charges",
    "sessions_outside_period": "sessions that were opened outside of the period",
    "messages_outside_period": "messages that left outside of the period",
}


def _lines(batch_id: int, books: Reconciliation, scratch: Scratch, out: Path | None) -> Iterator[str]:
    counts = books.counts
    yield (
        f"batch {batch_id}: {counted(counts['sessions'], 'session')} and {counted(counts['messages'], 'message')} that"
        f" left, compared with {counted(counts['provider_rows'], 'row')} of the provider and"
        f" {counted(counts['sender_rows'], 'row')} of the sender"
    )
    yield from (f"  {words}: {counts[name]:,}" for name, words in COUNTED.items() if counts[name])
    for name, number in books.uncompared.items():
        option = "--channel" if name in CHANNELS else "--account"
        click.echo(f"warning: {number:,} of {name} not compared: no file has a row of it ({option} {name})", err=True)
    for kind in Difference:
        if not (number := scratch.counts[kind]):
            continue
        yield f"\n{number:,} × {kind.meaning} ({kind})"
        yield from (f"  {_line(found)}" for found in scratch.differences(kind, SHOWN))
        if number > SHOWN:
            yield f"  and {number - SHOWN:,} more" + ("" if out else "; --out FILE has all")
        yield f"  → {kind.what_to_do}"
    total = scratch.counts.total()
    yield f"\n{counted(total, 'difference')}" if total else "no difference"


def _line(found: Found) -> str:
    where = f"row {found.row:,}" if found.file == "ours" else f"{found.file} row {found.row:,}"
    parts = (found.reference, found.customer_id and f"customer {found.customer_id}", found.account, found.detail)
    return "  ".join([where, *filter(None, parts)])
