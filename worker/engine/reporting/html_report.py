"""The report as one page that opens anywhere: no script, style, font or picture is fetched, and nothing is sent.

Customer ids and error texts come from lists and providers: everything is escaped, and the page's own policy
lets a browser run nothing but the one script and the one style that it ships with, named by their hashes.
"""

import base64
import hashlib
import heapq
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from itertools import accumulate
from typing import Any, TextIO

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from worker.engine.reporting.batch_report import Columns, line_values
from worker.store.operators.report_rows import LineFacts

SHOWN = 5_000  # rows in the table: more make a browser slow; all are counted, and the CSV has them all
EXAMPLES = 5  # rows and texts named for each thing that needs a person
TEXTS = 1_000  # different texts counted for each of them, so that a list of oddities cannot fill the memory
BUFFERED = 200  # pieces of the template written at a time
# In the order of a row's life. Each with what it means to somebody who did not run the batch.
STATES = {
    "waiting": "Not asked for yet, or to be asked again: the provider has not opened a session.",
    "working": "Being asked for at this moment.",
    "issued": "The provider has opened a session; its invitation has not left yet.",
    "invited": "The invitation with the link was handed over for delivery; the customer has not finished yet.",
    "completed": "The customer went through the verification. Its result is counted below.",
    "lapsed": "The customer never finished, and no further invitation is allowed.",
    "held": "Stopped, because it is not known what happened or a person has to decide. Nothing happens by itself.",
    "failed": "Ended without success: the provider refused the data, or every attempt failed.",
    "cancelled": "Called off by an operator.",
    "rejected": "The line of the list could not be used. Nothing was asked for and nothing was sent.",
    "duplicate": "The same customer stands further up in the list. The first line counts.",
}
NEEDS_A_PERSON = ("held", "failed", "rejected", "lapsed")
# By reason. One that is not here is shown as it is called.
REASONS = {
    "unknown": "it is not known whether the call was carried out",
    "second_session": "the provider has a second session for the customer",
    "conflict": "the provider has a live session for the customer",
    "template": "the message could not be made from its template",
    "bad_input": "the data was refused",
    "attempts_spent": "every attempt failed",
    "reissues_spent": "the link expired as often as links may be replaced",
    "session_failed": "the provider ended the session without a decision",
    "rejected": "the line was refused at import",
}
MESSAGES = {
    "waiting": "not sent yet",
    "sent": "accepted for delivery",
    "delivered": "reported as delivered",
    "bounced": "came back",
    "suppressed": "not sent: the address is on the list of those not to write to",
    "failed": "refused, or every attempt failed",
    "held": "may have been sent: a person has to decide",
}
HEADINGS = {
    "issued_at": "issued (UTC)",
    "expires_at": "link expires (UTC)",
    "customer_id": "customer",
    "route": "why this account",
}
NUMBERS = frozenset({"row", "attempts", "waits"})
TIMES = frozenset({"issued_at", "expires_at"})


@dataclass
class Group:
    """The rows that need a person for one reason. `rows` are the first of them."""

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
        return REASONS.get(self.reason, self.reason.replace("_", " "))

    @property
    def frequent(self) -> list[tuple[str, int]]:
        """The texts that explain most of the rows, with how many."""
        return heapq.nsmallest(EXAMPLES, self.texts.items(), key=lambda item: (-item[1], item[0]))


def write_html(
    out: TextIO, facts: dict[str, Any], lines: Iterable[LineFacts], *, with_link: bool, now: datetime
) -> int:
    """Write the page about one batch. Returns the number of lines, shown or not.

    `facts` are `batch_report.status()`'s, `lines` are read once; at most `SHOWN` of them are kept.
    """
    kept: list[LineFacts] = []
    groups: dict[tuple[str, str], Group] = {}
    count = 0
    for line in lines:
        count += 1
        if len(kept) < SHOWN:
            kept.append(line)
        if line.state in NEEDS_A_PERSON:
            key = (line.state, line.reason)
            if key not in groups:
                groups[key] = Group(*key, action=str(line_values(line, Columns())["action"]))
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
        columns=Columns(links=with_link, routes=True).names,
        headings=HEADINGS,
        numbers=NUMBERS,
        times=TIMES,
        states=[state for state in STATES if facts["rows"].get(state)],
        lines=_values(kept, with_link=with_link),
        with_link=with_link,
    )
    stream.enable_buffering(BUFFERED)
    for piece in stream:
        out.write(piece)
    return count


def _values(lines: list[LineFacts], *, with_link: bool) -> Iterator[dict[str, Any]]:
    for line in lines:
        values = line_values(line, Columns(links=with_link, routes=True))
        yield values | {name: str(values[name])[:19].replace("T", " ") for name in TIMES}


def _tiles(rows: dict[str, int]) -> list[tuple[str, int, str, bool]]:
    """(state, rows, explanation, whether it needs a person) of each state; those without rows too."""
    return [(state, rows.get(state, 0), words, state in NEEDS_A_PERSON) for state, words in STATES.items()]


def _segments(rows: dict[str, int]) -> list[tuple[str, int, float, float]]:
    """(state, rows, start, width) of the bar's parts, in per cent of its length."""
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
    """What a Content-Security-Policy calls an inline script or style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


@cache
def _environment() -> Environment:
    pages = files("worker.engine.reporting") / "pages"
    environment = Environment(
        loader=DictLoader({"report.html": (pages / "report.html").read_text("utf-8")}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, script = ((pages / name).read_text("utf-8") for name in ("report.css", "report.js"))
    # Ours, and needed to the letter: the hashes are over these very texts.
    environment.globals.update(style=Markup(style), script=Markup(script))  # noqa: S704
    environment.globals.update(style_hash=_hash(style), script_hash=_hash(script))
    environment.filters.update(number=lambda number: f"{number:,}", time=_time)
    return environment
