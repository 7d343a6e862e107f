"""The report as one HTML file that works offline: the page fetches no script, style, font or image, and sends nothing.
Its chart shows the batch over time. The page of a period is as the batch's, without rows and without a script.

Customer ids and error texts come from lists and providers, so everything is escaped. The page's policy allows only the
one script and the one style in the file, by their hashes.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files
from itertools import accumulate, islice
from tempfile import SpooledTemporaryFile
from typing import IO, Any, TextIO

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup, escape

from onboarding_worker.core.foundation.notation import spreadsheet_safe, written
from onboarding_worker.core.foundation.version import __version__
from onboarding_worker.core.model.states import InvitationState, JobState, LineState
from onboarding_worker.reporting.prices import NUMBERS as NUMBERS_OF_PERIOD
from onboarding_worker.reporting.prices import PeriodReport, Prices, costs, numbers_of
from onboarding_worker.reporting.report_lines import CHUNK, NUMBERS, TIMES, WORDS, Columns, chunk_of, line_values
from onboarding_worker.reporting.row_groups import Groups, headline
from onboarding_worker.reporting.store.report_rows import LineFacts
from onboarding_worker.reporting.store.spending import Points, Spending, in_steps

WIDTH, HEIGHT = 600, 160
STEPS = tuple(timedelta(minutes=one) for one in (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 7 * 1440))

STATIC = 100  # rows in the table as the file has it; the page's script shows all others, a page of them at a time
IN_MEMORY = 1024 * 1024  # bytes of the rows' data, before they go to a temporary file
BUFFERED = 200  # pieces of the template written at a time
SHOWN_RANGES = 12  # of row numbers, before "all"
# In the order of a row's life, each state explained to a reader who did not run the batch.
STATES: dict[JobState | LineState, str] = {
    JobState.WAITING: "No session was requested yet, or the request will be repeated.",
    JobState.WORKING: "The session is being requested at this moment.",
    JobState.ISSUED: "The provider has opened a session. The invitation has not been sent yet.",
    JobState.INVITED: "The invitation with the link was handed over for delivery. The customer has not finished yet.",
    JobState.COMPLETED: "The customer went through the verification. The results are counted below.",
    JobState.LAPSED: "The customer never finished, and no further invitation is allowed.",
    JobState.HELD: "Stopped: a call has an unknown outcome, or a person must decide. Nothing happens by itself.",
    JobState.FAILED: "Ended without success: for example, the provider refused the data, or every attempt failed.",
    JobState.CANCELLED: "An operator, or an event, cancelled the row.",
    LineState.REJECTED: "The line of the list could not be used. No session was requested and no message was sent.",
    LineState.DUPLICATE: "An earlier line of the list has the same customer. The earlier line counts.",
    LineState.JOINED: "A row of another list serves the customer, who was invited for that row.",
    LineState.KNOWN: "The customer was known already. The row asked for no session of its own.",
}
MESSAGES = {
    InvitationState.WAITING: "not sent yet",
    InvitationState.SENT: "accepted for delivery",
    InvitationState.DELIVERED: "reported as delivered",
    InvitationState.BOUNCED: "came back",
    InvitationState.SUPPRESSED: "not sent: the address may not be written to, or the customer has had all messages",
    InvitationState.FAILED: "refused, or every attempt failed",
    InvitationState.HELD: "may have been sent: a person must decide",
}
# The columns of the table; the script shows the others when a row is opened.
SHOWN = ("row", "customer_id", "state", "error", "action", "expires_at")
HEADINGS = {
    "customer_id": "customer",
    "error": "what happened",
    "action": "what to do",
    "expires_at": "link expires",
    "issued_at": "issued",
    "next_at": "goes on at",
    "route": "why this account",
}


def timeline(series: Mapping[str, Points]) -> dict[str, Any] | None:
    """The chart: rising lines, each with the `path` of an SVG and how many there were so far at the end of each step;
    None where nothing has happened, or everything within a minute."""
    given = {name: points for name, points in series.items() if points}
    if len({at for points in given.values() for at, _ in points}) < 2:
        return None
    first, step, sums = in_steps(given, STEPS, unit=timedelta(minutes=1))
    top = max(map(sum, sums.values()))
    ends = [first + step * number for number, _ in enumerate(next(iter(sums.values())), 1)]
    lines = [_line(name, tuple(accumulate(numbers)), top) for name, numbers in sums.items()]
    return {"lines": lines, "starts": first, "ends": ends[-1], "steps": ends, "top": top}


def _line(name: str, numbers: tuple[int, ...], top: int) -> dict[str, Any]:
    path = f"M0 {HEIGHT}" + "".join(
        f"L{round(WIDTH * index / len(numbers), 1):g} {round(HEIGHT - HEIGHT * number / top, 1):g}"
        for index, number in enumerate(numbers, 1)
    )
    return {"name": name, "total": numbers[-1], "path": path, "numbers": numbers}


def write_html(
    out: TextIO,
    facts: dict[str, Any],
    lines: Iterable[LineFacts],
    columns: Columns,
    spending: Spending | None = None,
    prices: Prices | None = None,
) -> int:
    """Write the page of one batch; returns the number of lines. `facts` come from `batch_report.status()`. `lines` are
    read once: what needs a person stands before them, so their data waits in a file without a name that only this
    process can open."""
    page, spending = _environment().get_template("report.html"), spending or Spending()
    # What the script needs to know of the page, as JSON for a <script> element.
    about = {"columns": columns.names, "shown": SHOWN, "headings": HEADINGS}
    about |= {name: sorted(of) for name, of in (("words", WORDS), ("times", TIMES), ("numbers", NUMBERS))}
    with SpooledTemporaryFile(IN_MEMORY, mode="w+", encoding="utf-8", newline="\n") as data:
        count, static, groups = _read(lines, columns, data)
        data.seek(0)
        stream = page.stream(
            facts=facts,
            headline=headline(facts, columns.corrected),
            made_at=columns.now,
            release=__version__,
            total=count,
            static=static,
            segments=segments({state: facts["rows"].get(state, 0) for state in STATES}),
            meanings=list(STATES.items()),
            groups=groups.by_need(),
            shown_ranges=SHOWN_RANGES,
            messages=[(state, number, MESSAGES.get(state, "")) for state, number in facts["invitations"].items()],
            costs=costs(spending.routes, prices or Prices()) if spending.routes else None,
            timeline=timeline(spending.series),
            columns=[*SHOWN, *(["link"] if columns.links else [])],
            all_columns=columns.names,
            headings=HEADINGS,
            states=[state for state in STATES if facts["rows"].get(state)],
            chunks=(Markup(chunk.rstrip("\n")) for chunk in data),  # noqa: S704 -- made by `chunk_of`
            with_link=columns.links,
            about=Markup(json.dumps(about).replace("<", "\\u003c")),  # noqa: S704 -- words of this module
        )
        stream.enable_buffering(BUFFERED)
        for piece in stream:
            out.write(piece)
    return count


def write_period(out: TextIO, report: PeriodReport, *, now: datetime) -> None:
    tables = (
        ("Account", "A customer counts for the account that serves the row now", report.accounts),
        ("Route", "Why the account was chosen", report.routes),
        ("Week", "By its Monday", report.weeks),
    )
    page = _environment().get_template("period.html")
    numbers = {"numbers": NUMBERS_OF_PERIOD, "numbers_of": numbers_of}
    out.write(page.render(numbers, report=report, tables=tables, made_at=now, release=__version__))


def _read(lines: Iterable[LineFacts], columns: Columns, data: IO[str]) -> tuple[int, list[dict[str, Any]], Groups]:
    """Write the rows' data, a chunk a line. Returns how many, the first as values, and the groups."""
    groups, static, count, lines = Groups(), list[dict[str, Any]](), 0, iter(lines)
    while read := list(islice(lines, CHUNK)):
        rows = []
        for line in read:
            values = line_values(line, columns)
            action = str(values["action"])
            group = None if line.later else groups.add(line.row, line.state, line.reason, line.detail, action=action)
            rows.append((values, group))
        data.write(chunk_of(columns.names, rows) + "\n")
        static += [values for values, _ in rows[: max(STATIC - count, 0)]]
        count += len(rows)
    return count, static, groups


def segments(parts: Mapping[str, int]) -> list[tuple[str, int, float, float]]:
    """(name, number, start, width) of each part of a bar that is not zero, in per cent of its length."""
    total, starts = sum(parts.values()), accumulate(parts.values(), initial=0)
    return [
        (name, number, round(100 * start / total, 3), round(100 * number / total, 3))
        for (name, number), start in zip(parts.items(), starts, strict=False)
        if number
    ]


def _time(at: datetime | str) -> Markup:
    """A time as a <time> element, which the script can show in the reader's own zone."""
    moment = (datetime.fromisoformat(at) if isinstance(at, str) else at).astimezone(UTC)
    return Markup('<time datetime="{}">{}</time>').format(written(moment), f"{moment:%Y-%m-%d %H:%M} UTC")


def _commands(text: str) -> Markup:
    pieces = text.split("`")
    code = (Markup("<code>{}</code>").format(one) if index % 2 else escape(one) for index, one in enumerate(pieces))
    return Markup("").join(code)


def _hash(text: str) -> str:
    """The source of an inline script or style in a Content-Security-Policy."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


@cache
def _environment() -> Environment:
    pages = files("onboarding_worker.reporting") / "pages"
    environment = Environment(
        loader=DictLoader({name: (pages / name).read_text("utf-8") for name in ("report.html", "period.html")}),
        autoescape=True,
        # Spreadsheets open a page too, and run what its cells begin with.
        finalize=lambda shown: spreadsheet_safe(shown) if type(shown) is str else shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, script = ((pages / name).read_text("utf-8") for name in ("report.css", "report.js"))
    # Not escaped: the texts are our own, and the hashes are made from exactly these bytes.
    environment.globals.update(style=Markup(style), script=Markup(script))  # noqa: S704
    environment.globals.update(style_hash=_hash(style), script_hash=_hash(script))
    environment.filters.update(number=lambda number: f"{number:,}", time=_time, commands=_commands)
    return environment
