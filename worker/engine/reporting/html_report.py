"""The report as one HTML file that works offline: the page fetches no script, style, font or image, and sends nothing.

Customer ids and error texts come from lists and providers, so everything is escaped. The page's policy allows only the
one script and the one style in the file, by their hashes.
"""

import base64
import hashlib
import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from itertools import accumulate
from types import MappingProxyType
from typing import Any, TextIO

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from worker.domain.model.reasons import meaning_of
from worker.domain.model.states import InvitationState, JobState, LineState
from worker.domain.model.waits import Blocked
from worker.engine.reporting.batch_report import Columns, line_values
from worker.foundation.spreadsheet_safety import spreadsheet_safe
from worker.store.operators.report_rows import LineFacts

SHOWN = 5_000  # rows in the table: more rows make a browser slow; all rows are counted, and the CSV has all of them
EXAMPLES = 5  # row numbers and texts shown for each group
TEXTS = 1_000  # different texts counted for each group, so that many different texts cannot fill the memory
BUFFERED = 200  # pieces of the template written at a time
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
}
NEEDS_A_PERSON = (JobState.HELD, JobState.FAILED, LineState.REJECTED, JobState.LAPSED)
MESSAGES = {
    InvitationState.WAITING: "not sent yet",
    InvitationState.SENT: "accepted for delivery",
    InvitationState.DELIVERED: "reported as delivered",
    InvitationState.BOUNCED: "came back",
    InvitationState.SUPPRESSED: "not sent: the address may not be written to, or the customer has had all messages",
    InvitationState.FAILED: "refused, or every attempt failed",
    InvitationState.HELD: "may have been sent: a person must decide",
}
HEADINGS = {
    "issued_at": "issued (UTC)",
    "expires_at": "link expires (UTC)",
    "customer_id": "customer",
    "next_at": "goes on at (UTC)",
    "route": "why this account",
}
NUMBERS = frozenset({"row", "attempts", "waits"})
TIMES = frozenset({"issued_at", "expires_at", "next_at"})


@dataclass
class Group:
    """The rows that need a person for one reason. `rows` are the numbers of the first of them."""

    state: str
    reason: str
    action: str
    count: int = 0
    rows: list[int] = field(default_factory=list)
    texts: Counter[str] = field(default_factory=Counter)

    def add(self, line: LineFacts) -> None:
        self.count += 1
        if len(self.rows) < EXAMPLES:
            self.rows.append(line.row)
        if line.detail and (line.detail in self.texts or len(self.texts) < TEXTS):
            self.texts[line.detail] += 1

    @property
    def words(self) -> str:
        """The reason as a sentence."""
        return meaning_of(self.reason)

    @property
    def frequent(self) -> list[tuple[str, int]]:
        """The texts that explain most of the rows, each with its number of rows."""
        return heapq.nsmallest(EXAMPLES, self.texts.items(), key=lambda item: (-item[1], item[0]))


def write_html(
    out: TextIO,
    facts: dict[str, Any],
    lines: Iterable[LineFacts],
    *,
    with_link: bool,
    now: datetime,
    blocked: Mapping[str, Blocked] = MappingProxyType({}),
) -> int:
    """Write the page of one batch; returns the number of lines, including those that are not shown.

    `facts` come from `batch_report.status()`. `lines` are read once, and at most `SHOWN` of them are kept.
    `blocked`: as in `Columns`.
    """
    kept: list[LineFacts] = []
    groups: dict[tuple[str, str], Group] = {}
    count = 0
    with_its_batch = Columns(now, links=with_link, routes=True, batch=str(facts["batch"]), blocked=blocked)
    for line in lines:
        count += 1
        if len(kept) < SHOWN:
            kept.append(line)
        if line.state in NEEDS_A_PERSON:
            key = (line.state, line.reason)
            if key not in groups:
                groups[key] = Group(*key, action=str(line_values(line, with_its_batch)["action"]))
            groups[key].add(line)
    page = _environment().get_template("report.html")
    stream = page.stream(
        facts=facts,
        made_at=_time(now),
        total=count,
        shown=len(kept),
        tiles=_tiles(facts["rows"]),
        segments=_segments(facts["rows"]),
        groups=sorted(groups.values(), key=lambda group: (NEEDS_A_PERSON.index(group.state), -group.count)),
        messages=[(state, number, MESSAGES.get(state, "")) for state, number in facts["invitations"].items()],
        columns=with_its_batch.names,
        headings=HEADINGS,
        numbers=NUMBERS,
        times=TIMES,
        states=[state for state in STATES if facts["rows"].get(state)],
        lines=_values(kept, with_its_batch),
        with_link=with_link,
    )
    stream.enable_buffering(BUFFERED)
    for piece in stream:
        out.write(piece)
    return count


def _values(lines: list[LineFacts], columns: Columns) -> Iterator[dict[str, Any]]:
    for line in lines:
        values = line_values(line, columns)
        yield values | {name: str(values[name])[:19].replace("T", " ") for name in TIMES}


def _tiles(rows: dict[str, int]) -> list[tuple[str, int, str, bool]]:
    """(state, rows, explanation, whether it needs a person) of every state, also without rows."""
    return [(state, rows.get(state, 0), words, state in NEEDS_A_PERSON) for state, words in STATES.items()]


def _segments(rows: dict[str, int]) -> list[tuple[str, int, float, float]]:
    """(state, rows, start, width) of each part of the bar, in per cent of its length."""
    present = [(state, rows[state]) for state in STATES if rows.get(state)]
    total = sum(number for _, number in present)
    starts = accumulate((number for _, number in present), initial=0)
    return [
        (state, number, round(100 * start / total, 3), round(100 * number / total, 3))
        for (state, number), start in zip(present, starts, strict=False)
    ]


def _time(at: datetime | str) -> str:
    moment = datetime.fromisoformat(at) if isinstance(at, str) else at
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _hash(text: str) -> str:
    """The source of an inline script or style in a Content-Security-Policy."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


@cache
def _environment() -> Environment:
    pages = files("worker.engine.reporting") / "pages"
    environment = Environment(
        loader=DictLoader({"report.html": (pages / "report.html").read_text("utf-8")}),
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
    environment.filters.update(number=lambda number: f"{number:,}", time=_time)
    return environment
