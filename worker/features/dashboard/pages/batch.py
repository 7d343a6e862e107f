"""All batches; and one: its states, what happened in each hour, what needs a person and why, and its rows; and its
report as a file, CSV or XLSX, as `onboard report` writes it without links and details."""

import io
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from tempfile import TemporaryFile
from typing import Any
from urllib.parse import urlencode

from onboarding_worker.core.database.audit_entries import note_alone
from onboarding_worker.core.foundation.clock import monotonic
from onboarding_worker.core.model.reasons import meaning_of
from onboarding_worker.core.model.states import UNSENT_JOBS, JobState, LineState
from onboarding_worker.features.dashboard.contract import Asked, Download, File, Page, Sources
from onboarding_worker.features.dashboard.pages.batch_actions import batch_of, page_of, refuse_purged
from onboarding_worker.features.dashboard.pages.now import batch_facts
from onboarding_worker.features.dashboard.store.batch_rows import MOST_GROUPED, hours_of, page_of_rows, rows_in_need
from onboarding_worker.features.dashboard.users import Role
from onboarding_worker.lists.decisions.row_addresses import MOST_PARTS
from onboarding_worker.lists.store.batches import BatchFacts
from onboarding_worker.reporting.report_lines import wait_for, write_csv
from onboarding_worker.reporting.row_groups import Group, Groups, without_ids
from onboarding_worker.reporting.steps import step_for
from onboarding_worker.reporting.store.report_rows import LineFacts
from onboarding_worker.reporting.store.spending import Points, in_steps

WIDTH, HEIGHT = 720, 150
STEPS = tuple(timedelta(hours=hours) for hours in (1, 3, 6, 12, 24, 72, 168, 720))
FILLS = {"issued": "issued", "invited": "invited", "refused": "failed", "finished": "completed"}

ALL_PATH, ALL_SHOWN = "/dashboard/batches", 30
PATH, SHOWN = f"{ALL_PATH}/{{batch}}", 50
MOST_CHOSEN = 1000  # characters of row numbers in the address of an action
KEPT_SECONDS = 15.0  # sums over all rows are read again after that
KEPT = 20  # batches
STATES = [str(state) for state in (*JobState, *LineState)]


def chart(series: Mapping[str, Points]) -> dict[str, Any] | None:
    """The chart; None where nothing has happened. Its `table` has the same numbers for persons who read them: the start
    of each step, and a number for each series."""
    if not any(series.values()):
        return None
    first, step, sums = in_steps(series, STEPS, unit=timedelta(hours=1))
    many, top = len(next(iter(sums.values()))), max(max(numbers) for numbers in sums.values())
    place, bars = WIDTH / many, []
    wide = min(place * 0.8 / len(sums), 14)
    for index in range(many):
        for which, (name, numbers) in enumerate(sums.items()):
            if numbers[index]:
                high = max(HEIGHT * numbers[index] / top, 1.5)
                x = place * index + (place - wide * len(sums)) / 2 + wide * which
                bar = {"x": x, "y": HEIGHT - high, "width": wide, "height": high}
                words = f"{first + step * index:%Y-%m-%d %H:%M} UTC: {numbers[index]:,} {name}"
                bars.append({"fill": FILLS[name], "words": words} | {of: round(one, 1) for of, one in bar.items()})
    table = [(first + step * index, [numbers[index] for numbers in sums.values()]) for index in range(many)]
    return {
        "bars": bars,
        "names": [(name, FILLS[name], sum(numbers)) for name, numbers in sums.items()],
        "first": first,
        "last": first + step * many,
        "step": step,
        "top": top,
        "table": [row for row in table if any(row[1])],
    }


class _Sums:
    """The reasons and the chart of a batch read each row: one reading serves all viewers for some seconds, or until an
    action in this process."""

    def __init__(self) -> None:
        self._kept: dict[tuple[int, int], tuple[float, dict[str, Any]]] = {}
        self._lock = threading.Lock()

    def of(self, sources: Sources, batch_id: int) -> dict[str, Any]:
        key = (id(sources.parts), batch_id)
        with self._lock:
            all_kept = self._kept
            kept = all_kept.get(key)
            if kept is not None and monotonic() - kept[0] < KEPT_SECONDS:
                return kept[1]
        groups, rows = Groups(), rows_in_need(sources.parts.database, batch_id)
        for one in rows:
            if not one.later:
                action = step_for(one.state, one.reason, batch_id)
                groups.add(one.row, one.state, one.reason, one.detail, action=action)
        found = {
            "groups": [(group, _chosen(group)) for group in groups.by_need()],
            "more_grouped": len(rows) >= MOST_GROUPED,
            "chart": chart(hours_of(sources.parts.database, batch_id)),
        }
        with self._lock:
            while len(all_kept) >= KEPT:
                del all_kept[next(iter(all_kept))]
            all_kept[key] = (monotonic(), found)
        return found

    def forget(self) -> None:
        with self._lock:
            self._kept = {}  # another one: a reading that began before keeps what it found in the one before


_SUMS = _Sums()


def read(sources: Sources, asked: Asked) -> Mapping[str, Any]:
    batch = batch_of(sources, asked)
    state, text = asked.text("state", most=16), asked.text("q", most=100)
    state = state if state in STATES else ""
    after = asked.number("after", most=2**31 - 1) or 0
    purged = batch.purged_at is not None
    database, keyring = sources.parts.database, sources.parts.keyring
    which: dict[str, Any] = {"after": after, "most": SHOWN + 1, "state": state, "text": text}
    rows = [] if purged else page_of_rows(database, keyring, batch.id, **which)
    here = page_of(batch.id)
    query = {name: value for name, value in (("state", state), ("q", text)) if value}
    older = f"{here}?{urlencode(query | {'after': rows[SHOWN - 1].row})}#rows" if len(rows) > SHOWN else ""
    sums = {"groups": [], "more_grouped": False, "chart": None} if purged else _SUMS.of(sources, batch.id)
    return sums | {
        "batch": batch_facts(sources, sources.parts.operation.report(), batch),
        "sets": sources.parts.facts.sets(batch.id),
        "made_at": batch.created_at,
        "paused_at": batch.paused_at if batch.is_paused else None,
        "acts": f"/dashboard/audit?{urlencode({'subject': f'batch {batch.id}'})}",
        "rows": [
            (one, meaning_of(one.reason) if one.reason else "", without_ids(one.detail))
            for one in _waiting_as_now(sources, batch, rows[:SHOWN])
        ],
        "states": STATES,
        "state": state,
        "text": text,
        "first": f"{here}?{urlencode(query)}#rows" if after else "",
        "older": older,
        "filtered": bool(state or text),
        "chart_size": (WIDTH, HEIGHT),
    }


def _waiting_as_now(sources: Sources, batch: BatchFacts, rows: Sequence[LineFacts]) -> Iterator[LineFacts]:
    """The rows; those that wait with what they wait for now, as the report says it: pauses and stops change."""
    waiting = [one.row for one in rows if one.state in UNSENT_JOBS]
    lines = sources.parts.facts.lines_of(batch.id, waiting) if waiting else {}
    columns = sources.reporting.columns(batch) if waiting else None
    for one in rows:
        line = lines.get(one.row)
        wait = wait_for(line, columns) if line is not None and columns is not None else None
        yield one if wait is None else replace(one, reason=wait.reason, detail=wait.detail, due_at=wait.until)


def _chosen(group: Group) -> str:
    """The rows of the group, for an action on them alone; "": they are too many for an address."""
    if group.rows.ranges > MOST_PARTS:
        return ""
    rows = str(group.rows).replace(" ", "")
    return rows if len(rows) <= MOST_CHOSEN else ""


KINDS = {"csv": "text/csv", "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"}


def _report(sources: Sources, asked: Asked, *, ending: str) -> File:
    batch = refuse_purged(batch_of(sources, asked))
    database = sources.acting(asked, "report", "").database
    note_alone(database, f"batch {batch.id}", now=asked.now, reason=ending)
    out = TemporaryFile("w+b")  # noqa: SIM115 -- the site closes it
    try:
        lines, columns = sources.parts.facts.lines(batch.id), sources.reporting.columns(batch)
        if ending == "csv":
            text = io.TextIOWrapper(out, encoding="utf-8-sig", newline="", write_through=True)
            write_csv(text, lines, columns)
            text.detach()
        else:
            from onboarding_worker.reporting.xlsx_report import write_xlsx  # imported here: few ask for a workbook

            write_xlsx(out, sources.reporting.status(batch), lines, columns)
    except BaseException:
        out.close()
        raise
    out.seek(0)
    return File(f"batch-{batch.id}-report.{ending}", KINDS[ending], out)


DOWNLOADS = tuple(
    Download(path=f"{PATH}/report.{ending}", least=Role.SERVICE_DESK, read=partial(_report, ending=ending))
    for ending in KINDS
)


def read_all(sources: Sources, asked: Asked) -> Mapping[str, Any]:
    """All batches, the newest first."""
    text = asked.text("q")
    batches = sources.parts.batches.all()
    every = [one for one in batches if text == str(one.id) or text.casefold() in one.name.casefold()]
    first = min(asked.number("from") or 0, len(every))
    whole = sources.parts.operation.report()

    def there(start: int) -> str:
        return f"{ALL_PATH}?{urlencode(({'q': text} if text else {}) | {'from': str(start)})}"

    return {
        "total": len(every),
        "batches": [batch_facts(sources, whole, one) for one in every[first : first + ALL_SHOWN]],
        "text": text,
        "newer": there(max(first - ALL_SHOWN, 0)) if first else "",
        "older": there(first + ALL_SHOWN) if len(every) > first + ALL_SHOWN else "",
    }


PAGES = (
    Page(
        path=ALL_PATH,
        template="batches.html",
        live="batches_live.html",
        read=read_all,
        title="Batches",
        navigation="Batches",
    ),
    Page(path=PATH, template="batch.html", live="batch_live.html", read=read, title="Batch", forget=_SUMS.forget),
)
