"""Takes events in: validates each event's data as the import judges a row of a list, before anything is written; then
stores it and applies it, all in one transaction.

The bus, HTTP and the Python API share this module. docs/reference/events.md describes what follows from which event.
"""

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from types import MappingProxyType
from typing import Any, NamedTuple

import sqlalchemy as sa

from onboarding_worker.adapters.strict_json import MOST_LEVELS, has_unstorable_text, read_object
from onboarding_worker.core.foundation.keyring import CannotDecrypt, Keyring
from onboarding_worker.core.foundation.notation import parse_duration, show_duration
from onboarding_worker.core.model.customers import MESSAGE, UPDATABLE, FieldProblem
from onboarding_worker.core.model.incoming import Event, EventKind, EventReceipt, Outcome, Received
from onboarding_worker.events.cloudevents import LARGEST, LONGEST
from onboarding_worker.events.standing import NOT_ITS_ID, NOT_ITS_TYPE, Arrival, Columns, columns_of, may_name
from onboarding_worker.events.store.inbox import Inboxes
from onboarding_worker.lists.accept import accept
from onboarding_worker.lists.columns import Objects
from onboarding_worker.lists.importing.intake import PREFILLED, Intake, judge
from onboarding_worker.lists.importing.judging import options_of
from onboarding_worker.lists.lines import AcceptedLine, RefusedLine
from onboarding_worker.lists.options import ListOptions
from onboarding_worker.lists.own_columns import is_own
from onboarding_worker.lists.traces import Span
from onboarding_worker.providers.row_rights import LIBRARY, SENDERS

INVITE_AFTER = "invite_after"
# No invitation waits longer than this, not even where the vendor decides how long links live.
LONGEST_WAIT = timedelta(days=30)
_ALLOWED = {
    EventKind.CANCELLED: ("customer_id", "purpose"),
    EventKind.UPDATED: ("customer_id", *UPDATABLE),
    EventKind.ERASED: ("customer_id",),
}
_NOT_ALLOWED = {
    EventKind.CANCELLED: ("an onboarding.cancelled does not take it", "leave it out"),
    EventKind.UPDATED: (
        "a customer.updated cannot change it",
        "leave it out; onboarding.requested decides how a customer is served",
    ),
    EventKind.ERASED: ("a customer.erased does not take it", "leave it out"),
}
_NO_JSON = (
    f"its data is not an object of JSON values, at most {MOST_LEVELS} levels deep and {LARGEST:,} characters long,"
    " without NUL characters"
)


@dataclass(frozen=True)
class _Reading:
    """How data is read on one day: dates of birth after that day are refused.

    `of_requests`: as rows of a list, of which a value that nothing here uses refuses nothing. An update keeps each
    value for accounts that may use it later.
    """

    options: ListOptions
    of_requests: ListOptions
    objects: Objects


class _Asked(NamedTuple):
    """What an event's data says, as fields of its `Arrival`."""

    customer_id: str
    purpose: str
    warnings: tuple[FieldProblem, ...]
    line: AcceptedLine | None = None
    invite_after: timedelta | None = None
    columns: Columns = MappingProxyType({})


class Judging:
    """Judges events by this configuration."""

    def __init__(self, intake: Intake, keyring: Keyring) -> None:
        self._intake, self._keyring = intake, keyring
        self._intakes: dict[str, Intake] = {}  # by the origin of requests
        self._reading: _Reading | None = None

    def judge(self, event: Event, *, now: datetime) -> Arrival | EventReceipt:
        """The event as it is taken in, or the reason why it is refused. No text of a refusal names a value."""
        if event.kind not in event.sender.kinds:
            return _refused(NOT_ITS_TYPE)
        for name, word in (("source", event.source), ("id", event.id)):
            problem = _wrong_word(word)
            if problem:
                return _refused(f"its {name} {problem}")
        if not isinstance(event.occurred_at, datetime | None):
            return _refused("its time is not a datetime")
        if event.occurred_at is not None and event.occurred_at.tzinfo is None:
            return _refused("its time has no time zone")
        try:
            # A time in the future would win over all later events.
            occurred_at = now if event.occurred_at is None else min(event.occurred_at.astimezone(UTC), now)
        except OverflowError:
            return _refused("its time does not exist in UTC")
        plain = _plain(event.data)
        data = read_object(plain.encode()) if plain is not None else None
        if plain is None or not isinstance(data, dict) or has_unstorable_text(data):
            return _refused(_NO_JSON)
        is_request = event.kind is EventKind.REQUESTED
        found = self._request(data, event.sender.name) if is_request else self._about_customer(event.kind, data)
        if isinstance(found, list):
            return _refused("its data is refused", *map(_without_flags, found))
        if not may_name(event.sender, found.customer_id):
            return _refused(NOT_ITS_ID)
        # The whole content, to recognise a duplicate by its digest.
        at = event.occurred_at.astimezone(UTC).isoformat() if event.occurred_at is not None else ""
        content = f"{event.kind} {at} {plain}"
        return Arrival(
            sender=event.sender,
            source=event.source,
            event_id=event.id,
            kind=event.kind,
            occurred_at=occurred_at,
            digests=self._keyring.digests("event", content),
            actor=event.actor,
            signed_at=event.signed_at,
            **found._asdict(),
        )

    def _about_customer(self, kind: EventKind, data: dict[str, Any]) -> _Asked | list[FieldProblem]:
        raw = self._read().objects.cells(0, data)
        if isinstance(raw.cells, FieldProblem):
            return [raw.cells]
        problems = list(raw.problems)
        allowed = _ALLOWED[kind]
        own = {name for name in raw.cells if kind is EventKind.UPDATED and is_own(name)}
        given = {name: cell for name, cell in raw.cells.items() if name in allowed or name in own}
        problems += [FieldProblem(name, *_NOT_ALLOWED[kind]) for name in raw.cells if name not in given]
        line = accept(0, given | {"channel": "none"}, self._read().options)
        if isinstance(line, RefusedLine):
            return [*problems, *line.problems]
        customer = line.customer
        if kind is EventKind.CANCELLED:  # what it ends must not be a guess
            problems += (one for one in line.if_used if one.column == "purpose")
        columns: dict[str, Any] = {}
        if kind is EventKind.UPDATED:
            left_out = {problem.column for problem in line.if_used}  # names that are none
            names = [name for name in given if name in UPDATABLE and name not in left_out]
            columns = columns_of(customer, names)
            empty = [name for name, value in columns.items() if not value]
            there = {f"{MESSAGE}.{name}" for name in customer.person.message or ()}
            empty += sorted(own - there - left_out)
            problems += [
                FieldProblem(name, "it is empty", "an update cannot remove a value: leave it out") for name in empty
            ]
            if there:
                names.append(MESSAGE)
                columns |= columns_of(customer, [MESSAGE])
            if not names and not problems:
                nothing = FieldProblem("", "it has no column that is new", f"give one of {', '.join(UPDATABLE)}")
                problems += line.if_used or (nothing,)
        if problems:
            return problems
        purpose = customer.purpose if kind is EventKind.CANCELLED else ""
        return _Asked(customer.customer_id, purpose, line.if_used, columns=columns)

    def _request(self, data: dict[str, Any], sender: str) -> _Asked | list[FieldProblem]:
        origin = f"{SENDERS}.{sender}" if sender else LIBRARY
        intake = self._intakes.get(origin) or self._intakes.setdefault(origin, self._intake.of(origin))
        asked = data.pop(INVITE_AFTER, None)
        raw = self._read().objects.cells(0, data)
        judged = judge(intake, accept(0, raw.cells, self._read().of_requests, raw.problems))
        wait = self._wait(asked, judged if isinstance(judged, AcceptedLine) else None)
        problems = [wait] if isinstance(wait, FieldProblem) else []
        if isinstance(judged, RefusedLine):
            return [*judged.problems, *problems]
        # A request's data counts as a whole: what is stored does not fill it up.
        if isinstance(wait, FieldProblem) or judged.lacks:
            return [*judged.lacks, *problems]
        customer = judged.customer
        return _Asked(customer.customer_id, customer.purpose, judged.warnings, line=judged, invite_after=wait)

    def _wait(self, asked: Any, line: AcceptedLine | None) -> timedelta | FieldProblem | None:
        """How long the invitation waits for the app; None: not at all."""
        if asked is None:
            return None
        try:
            wait = parse_duration(asked)
        except ValueError as error:
            return FieldProblem(INVITE_AFTER, "not a duration", str(error))
        lifetime = self._intake.lifetime(line.account, line.customer) if line is not None else None
        longest = LONGEST_WAIT
        if line is not None and lifetime is not None:
            longest = min(LONGEST_WAIT, lifetime - timedelta(seconds=line.floor_seconds))
        if wait > longest:
            return FieldProblem(
                INVITE_AFTER,
                "it leaves the link too little life",
                f"at most {show_duration(longest)}: the link's life less its freshness floor",
            )
        return wait

    def _read(self) -> _Reading:
        today = self._intake.clock().date()
        if self._reading is None or self._reading.options.today != today:
            options = options_of(self._intake)
            self._reading = _Reading(options, replace(options, if_used=PREFILLED), Objects(options))
        return self._reading


def _refused(reason: str, *problems: FieldProblem) -> EventReceipt:
    return EventReceipt(Outcome.REFUSED, reason=reason, problems=problems)


def _wrong_word(word: str) -> str:
    if not isinstance(word, str | None):
        return "is not a text"
    if not word:
        return "is missing"
    if len(word) > LONGEST:
        return f"has {len(word):,} characters, more than {LONGEST}"
    if not word.isprintable():
        return "has a character that cannot be shown"
    return ""


def _plain(data: Any) -> str | None:
    """The data as one text, whatever the order of its keys; None where the data is no JSON, or too long."""
    # json.dumps would turn any key into a text.
    if not isinstance(data, Mapping) or not all(isinstance(key, str) for key in data):
        return None
    try:
        plain = json.dumps(dict(data), sort_keys=True, allow_nan=False, default=_date, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError):  # the errors' texts may hold values of the data
        return None
    return plain if len(plain) <= LARGEST else None


def _date(value: Any) -> str:
    """A date of birth as a text: events from Python may hold a date."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    raise TypeError


def _without_flags(problem: FieldProblem) -> FieldProblem:
    """The problem without the hint at a command's options: a sender of events has no options."""
    hint, flag, _ = problem.hint.partition("--")
    if not flag:
        return problem
    for end in ("; or use ", ", or use ", ", or leave it out with ", "rename it with ", "leave it out with "):
        hint = hint.removesuffix(end)
    return replace(problem, hint=hint.strip() or "leave it out, or check its name")


log = logging.getLogger(__name__)


class Receiver:
    """Takes events in by one configuration. Safe for threads. Make it after a fork, never before."""

    def __init__(self, intake: Intake, inboxes: Inboxes, keyring: Keyring) -> None:
        # The order of events decides which one counts: a machine that was paused with its clock must not be ahead of
        # the others, nor behind them.
        self._clock, self._inboxes = intake.database_clock, inboxes
        self._judging = Judging(intake, keyring)
        self._traces = intake.traces()

    def receive(self, events: Sequence[Event]) -> Received:
        """Take events in one transaction, and commit it. Returns a receipt for each event, in their order.

        An event that the database cannot store is refused, and does not stop the other events: then each event gets
        a transaction of its own. Raises sqlalchemy.exc.OperationalError during an outage of the database: then no
        event was taken, or the events were taken and are duplicates, with the same receipts, when they come again.
        """
        now = self._clock()
        judged, spans = self._judge(events, now)
        received: Received | None = None
        try:
            received = self._take(judged, now)
        except sa.exc.OperationalError:
            raise
        except (sa.exc.StatementError, CannotDecrypt):
            log.warning("a chunk of %d events was not taken: trying each event alone", len(judged))
        if received is None:  # not above: what is raised here must not hold the chunk's error, which may name a value
            alone = [self._alone(one, now) for one in judged]
            due = frozenset(name for one in alone for name in one.due)
            received = Received([one.receipts[0] for one in alone], due)
        self._end(spans, received)
        return received

    def receive_within(self, connection: sa.Connection, events: Sequence[Event]) -> Received:
        """Take events in the caller's transaction: they are committed or rolled back with it. Raises what the database
        raises; the transaction cannot be used any more then."""
        now = self._clock()
        judged, spans = self._judge(events, now)
        received = self._take(judged, now, within=connection)
        self._end(spans, received)
        return received

    def _judge(self, events: Sequence[Event], now: datetime) -> tuple[list[Arrival | EventReceipt], list[Span | None]]:
        """The events as they are taken in, or why they are refused; and the spans of those that are traced."""
        judged = [self._judging.judge(event, now=now) for event in events]
        if not self._traces.on:
            return judged, []
        spans = [
            self._traces.of_event(event.traceparent, now, {"event": event.kind.value, "sender": event.sender.name})
            for event in events
        ]
        for place, (one, span) in enumerate(zip(judged, spans, strict=True)):
            if span is not None and isinstance(one, Arrival):
                judged[place] = replace(one, traceparent=span.traceparent)
        return judged, spans

    def _end(self, spans: Sequence[Span | None], received: Received) -> None:
        if not any(spans):
            return
        now = self._clock()
        for span, receipt in zip(spans, received.receipts, strict=True):
            if span is not None:
                refused = receipt.outcome is Outcome.REFUSED
                job = {} if receipt.job_id is None else {"job": receipt.job_id}
                span.end(now, receipt.outcome.value, failed=refused, facts=job)

    def _alone(self, one: Arrival | EventReceipt, now: datetime) -> Received:
        try:
            return self._take([one], now)
        except sa.exc.OperationalError:
            raise
        except (sa.exc.StatementError, CannotDecrypt) as error:
            # A database's message about a value may hold the value.
            why = error.for_logs if isinstance(error, CannotDecrypt) else type(error).__name__
            log.error("an event is refused because it cannot be stored: %s", why)
            return Received([EventReceipt(Outcome.REFUSED, reason=f"it cannot be stored ({type(error).__name__})")])

    def _take(
        self, judged: Sequence[Arrival | EventReceipt], now: datetime, within: sa.Connection | None = None
    ) -> Received:
        arrivals = [one for one in judged if isinstance(one, Arrival)]
        taken = Received([])
        if arrivals:
            taken = self._inboxes.take(arrivals, now=now, within=within)
        for sender, count in Counter(taken.beyond).items():
            log.warning("events of %s: %d named a customer that it does not reach, and changed nothing", sender, count)
        warned = Counter((one.sender.name, warning) for one in arrivals for warning in one.warnings)
        for (sender, warning), count in warned.items():
            log.warning("events of %s: %d with a warning: %s", sender, count, warning.named)
        receipts = iter(taken.receipts)
        return Received([one if isinstance(one, EventReceipt) else next(receipts) for one in judged], taken.due)
