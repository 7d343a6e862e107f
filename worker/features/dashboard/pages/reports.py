"""The report of a batch as a file, CSV or XLSX, as `onboard report` writes it without links and details."""

import io
from functools import partial
from tempfile import TemporaryFile
from typing import BinaryIO

from worker.core.database.audit_entries import Act, note_alone
from worker.features.dashboard.contract import Asked, Download, File
from worker.features.dashboard.pages.batch_actions import batch_of, refuse_purged
from worker.features.dashboard.sources import Sources
from worker.features.dashboard.users import Role
from worker.lists.store.batches import BatchFacts
from worker.reporting.report_lines import write_csv

CSV = "text/csv"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


def _csv(sources: Sources, batch: BatchFacts, out: BinaryIO) -> None:
    text = io.TextIOWrapper(out, encoding="utf-8-sig", newline="", write_through=True)
    write_csv(text, sources.parts.facts.lines(batch.id), sources.reporting.columns(batch))
    text.detach()


def _xlsx(sources: Sources, batch: BatchFacts, out: BinaryIO) -> None:
    from worker.reporting.xlsx_report import write_xlsx  # imported here: few ask for a workbook

    lines = sources.parts.facts.lines(batch.id)
    write_xlsx(out, sources.reporting.status(batch), lines, sources.reporting.columns(batch))


def _read(sources: Sources, asked: Asked, *, ending: str) -> File:
    batch = refuse_purged(batch_of(sources, asked))
    database = sources.parts.database.acting(Act(asked.person.actor, "report"))
    note_alone(database, f"batch {batch.id}", now=asked.now, reason=ending)
    out = TemporaryFile("w+b")  # noqa: SIM115 -- the site closes it
    try:
        (_csv if ending == "csv" else _xlsx)(sources, batch, out)
    except BaseException:
        out.close()
        raise
    out.seek(0)
    return File(f"batch-{batch.id}-report.{ending}", CSV if ending == "csv" else XLSX, out)


DOWNLOADS = tuple(
    Download(
        path=f"/dashboard/batches/{{batch}}/report.{ending}",
        least=Role.SERVICE_DESK,
        read=partial(_read, ending=ending),
    )
    for ending in ("csv", "xlsx")
)
