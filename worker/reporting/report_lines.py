"""The lines of a batch, as `report` prints them, and as the report page has them: compact JSON in chunks, of which a
browser reads a hundred thousand rows in a second."""

import csv
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, TextIO

from onboarding_worker.core.foundation.features import hint
from onboarding_worker.core.foundation.keyring import NEEDS_THE_KEY
from onboarding_worker.core.foundation.notation import spreadsheet_safe, written
from onboarding_worker.core.model.customers import OWN_PREFIX, UPDATABLE
from onboarding_worker.core.model.states import JobState, LineState
from onboarding_worker.core.rows.verdicts import Verdict
from onboarding_worker.lists.known_customers import ANOTHER_PERSON, WAS_ERASED
from onboarding_worker.reporting.steps import step_for
from onboarding_worker.reporting.store.report_rows import LineFacts
from onboarding_worker.reporting.waits import Circumstances, Wait, cause_of, explained, is_healthy, of_row

COLUMNS = (
    "row",
    "customer_id",
    "state",
    "result",
    "reasons",
    "account",
    "reference",
    "issued_at",
    "expires_at",
    "invitation",
    "attempts",
    "waits",
    "error",
    "action",
)
# What is to be done about rows in which nothing is to be corrected.
_HINTS = {problem.named: problem.hint for problem in (WAS_ERASED, ANOTHER_PERSON)}
UPGRADE = "upgrade"
BYTE_ORDER_MARK = "\ufeff"
DETAILS = ("purpose", "kind", *UPDATABLE)
# What opens a session: for those who send the links themselves.
SECRETS = ("link", "digits", "vendor", "vendor_parameters")

CHUNK = 1000
WORDS = frozenset(
    {"state", "result", "reasons", "account", "invitation", "error", "action", "route", "brand", "vendor"}
)
TIMES = frozenset({"issued_at", "expires_at", "next_at"})
NUMBERS = frozenset({"row", "attempts", "waits"})
_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False)


@dataclass(frozen=True)
class Columns:
    """The columns of a report in addition to `COLUMNS`: each line's link, a secret; why its account was chosen, and
    the brand; the customer's details, to be mended there. `as_dates`: times as a spreadsheet takes them for dates, in
    UTC. `details`: with these columns for messages, each NAME of `message.NAME`; None: no details.

    `next_at` is always the last column. `batch` is the batch's number, for commands in the column `action`. `around`:
    what keeps rows waiting at the time `now`. `corrected`: how many rejected rows have a later row.
    """

    now: datetime
    links: bool = False
    routes: bool = False
    batch: str = "BATCH"
    around: Circumstances = field(default_factory=Circumstances)
    details: Collection[str] | None = None
    as_dates: bool = False
    corrected: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        routes, secrets = ("route", "brand") if self.routes else (), SECRETS if self.links else ()
        return (*COLUMNS, *routes, *secrets, *self.of_details, "next_at")

    @property
    def of_details(self) -> tuple[str, ...]:
        if self.details is None:
            return ()
        return (*DETAILS, *(f"{OWN_PREFIX}{name}" for name in sorted(self.details)))

    def time(self, at: datetime | None) -> str:
        if at is None:
            return ""
        return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}" if self.as_dates else written(at)


def wait_for(line: LineFacts, columns: Columns) -> Wait | None:
    """What the line waits for; None: it does not wait."""
    if line.waiting is None:
        return None
    healthy = is_healthy(line.state, line.reason)
    waiting = line.waiting._replace(reason="", detail="") if healthy else line.waiting
    return of_row(cause_of(waiting, columns.around, now=columns.now))


def line_values(line: LineFacts, columns: Columns) -> dict[str, Any]:
    """One line of the report, by column. Times are ISO 8601 UTC; `error` explains the state."""
    healthy = is_healthy(line.state, line.reason)
    error = "" if healthy else explained(line.reason, line.detail)
    # A held row is resolved in the batch of the row that it joined.
    batch = str(line.served_by) if line.state == JobState.HELD and line.served_by else columns.batch
    action = step_for(line.state, line.reason, batch)
    action = _HINTS.get(line.detail, action)
    if line.later:
        action = f"nothing: {line.later} has the customer"
    if healthy and line.detail:  # which other row has the customer is no error
        action = f"nothing: {line.detail}"
    next_at: datetime | None = None
    if line.state not in {*JobState, *LineState}:
        error, action = "this release does not know the row's state; a newer release wrote it, or a person", UPGRADE
    wait = wait_for(line, columns)
    if wait is not None:
        step = action if healthy else step_for(line.state, wait.reason, batch)
        error, next_at, action = wait.error, wait.until, wait.step or step
    if line.late:
        late = f"an answer was lost or came too late to be used; the provider has also opened {line.late}"
        error = f"{error}; {late}" if error else late
        action = action or "end the session that the error names at the provider, or let it expire unused"
    if doubt := line.verdict.doubt:
        error = f"{error}; {doubt}" if error else doubt
        action = action or "ask the provider what it decided"
    if line.unreadable:
        error = f"{error}; {line.unreadable}" if error else line.unreadable
        put_back = f"put the key back into [encryption] keys{hint('keys', ' (`onboard keys status`)')}"
        action = action or (put_back if NEEDS_THE_KEY in line.unreadable else UPGRADE)
    values = {name: getattr(line, name, "") for name in COLUMNS}
    values |= {"issued_at": columns.time(line.issued_at), "expires_at": columns.time(line.expires_at)}
    values |= {"error": error, "action": action}
    if line.verdict is Verdict.CHANGED:  # who reads this column alone must not take it for the provider's
        values["result"] = line.verdict.value
    values |= {"route": line.route, "brand": line.brand} if columns.routes else {}
    if columns.links:
        opening = line.opening
        parameters = json.dumps(dict(opening.vendor_parameters), ensure_ascii=False)
        values |= {"link": opening.link, "digits": opening.digits, "vendor": opening.vendor}
        values |= {"vendor_parameters": parameters if opening.vendor_parameters else ""}
    if columns.details is not None:
        values |= {"purpose": line.purpose, "kind": "" if line.details is None else line.details.kind.value}
        names = [name for name in columns.of_details if name not in values]
        values |= {name: "" if line.details is None else line.details.shown(name) for name in names}
    return values | {"next_at": columns.time(next_at)}


def cells(line: LineFacts, columns: Columns) -> list[Any]:
    """One line of the report as the cells of a table, in the order of its header."""
    values = line_values(line, columns)
    return [values[name] for name in columns.names]


def write_csv(out: TextIO, lines: Iterable[LineFacts], columns: Columns, *, excel: bool = False) -> int:
    """Write the lines as CSV; returns how many. `excel`: with times as dates, and as in `write_table`."""
    columns = replace(columns, as_dates=excel)
    return write_table(out, columns.names, (cells(line, columns) for line in lines), excel=excel)


def write_table(out: TextIO, names: Sequence[str], rows: Iterable[Sequence[Any]], *, excel: bool = False) -> int:
    """Write rows as CSV; returns how many. A spreadsheet reads no cell as a formula. `excel`: for a double-click in
    Excel, which takes CSV for UTF-8 by the mark alone, and in most languages separates cells by semicolons."""
    out.write(BYTE_ORDER_MARK if excel else "")
    writer = csv.writer(out, delimiter=";" if excel else ",")
    writer.writerow(names)
    count = 0
    for row in rows:
        writer.writerow([spreadsheet_safe(str(value)) for value in row])
        count += 1
    return count


def write_jsonl(out: TextIO, objects: Iterable[Mapping[str, Any]]) -> int:
    """Write JSON objects, a line each; returns how many."""
    count = 0
    for one in objects:
        out.write(json.dumps(one, ensure_ascii=False) + "\n")
        count += 1
    return count


def chunk_of(names: Sequence[str], rows: Iterable[tuple[Mapping[str, Any], int | None]]) -> str:
    """The rows as text for a <script> element, whose end no value can write. `names` are the columns; each row ends
    with the number of its group, or null."""
    words: dict[str, int] = {}

    def shown(name: str, value: Any) -> Any:
        if name in NUMBERS:
            return value
        if name in TIMES:
            return int(datetime.fromisoformat(value).timestamp()) if value else 0
        # Spreadsheets open a page too, and run what its cells begin with.
        text = spreadsheet_safe(str(value))
        return words.setdefault(text, len(words)) if name in WORDS else text

    made = [[*(shown(name, values[name]) for name in names), group] for values, group in rows]
    text = _JSON.encode({"w": list(words), "r": made})
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
