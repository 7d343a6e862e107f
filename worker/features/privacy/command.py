"""`onboard archive`: saves a batch as a file, and may remove it from the database."""

import os
from contextlib import suppress
from pathlib import Path

import click

from onboarding_worker.cli.completions import Batch
from onboarding_worker.cli.exits import CannotStart
from onboarding_worker.cli.invocation import Said, find_kept, saying
from onboarding_worker.cli.shared_options import YES, Named, confirm, whole_file
from onboarding_worker.core.foundation.notation import counted
from onboarding_worker.core.foundation.private_files import to_disk
from onboarding_worker.features.privacy.store.removals import Purging
from onboarding_worker.lists.store.batches import BatchFacts
from onboarding_worker.reporting.report_lines import line_values, write_jsonl
from onboarding_worker.settings.needs import STORED
from onboarding_worker.wiring.container import Parts


@click.command()
@click.argument("batch", type=Batch())
@click.option("--out", required=True, type=Named(), help="Write to this file. An existing file is not overwritten.")
@click.option("--purge", is_flag=True, help="Then remove the batch's rows from the database. This cannot be undone.")
@YES
@saying(STORED, migrate=True)
def archive(parts: Parts, batch: str, out: Path, purge: bool, yes: bool) -> Said:
    """Write the result of each row of BATCH (a number, or `latest`) as JSON lines, without links and tokens.

    With --purge the batch's jobs, calls, sessions, messages and rejected rows are then removed. This is refused until
    each row has ended, none of its links opens any more and none of its messages is being sent, and for 30 days after
    a call whose outcome is not known. The totals stay. Customers who have finished stay known, and later lists skip
    them as before. `[retention] batches` purges old batches automatically.
    """
    found, purging = find_kept(parts, batch), Purging(parts.database)
    if purge:
        _refuse_what_is_not_over(parts, purging, found)
    if out.exists():
        raise CannotStart(f"--out: {out.name} exists; name another file")
    columns = parts.reporting.columns(found, routes=True)
    with whole_file(out) as stream:
        rows = write_jsonl(stream, (line_values(line, columns) for line in parts.facts.lines(found.id)))
        stream.flush()
        os.fsync(stream.fileno())  # the rows must be on the disk before they leave the database
    with suppress(OSError):  # and so must the file's name; some network shares refuse it
        to_disk(out.parent)
    click.echo(f"{counted(rows, 'row')} written to {out}", err=True)
    removed = 0
    if purge:
        if not yes:
            confirm(f"remove all rows of batch {found.id} ({found.name})?")
        _refuse_what_is_not_over(parts, purging, found)  # a row may have been put back meanwhile
        purging.begin(found.id, parts.facts.counts(found.id), now=parts.clock())
        while chunk := purging.chunk(found.id, now=parts.clock()):  # if it is cut off, any worker continues it
            removed += chunk
    words = f"batch {found.id}: {counted(removed, 'row')} removed; `onboard status {found.id}` keeps its totals"
    facts = {"batch": found.id, "rows": rows, "purged": purge, "removed": removed}
    return Said(facts, [words] if purge else [])


def _refuse_what_is_not_over(parts: Parts, purging: Purging, batch: BatchFacts) -> None:
    now = parts.clock()
    why = purging.why_not(batch.id, since=now, now=now)
    if why is not None:
        rows = f"; `onboard report {batch.id}` says how each row stands" if why.startswith("row ") else ""
        raise CannotStart(f"batch {batch.id} cannot be purged: {why}{rows}")
