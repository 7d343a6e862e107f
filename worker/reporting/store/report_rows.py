"""The facts that `status` and `report` show: the numbers of a batch, and each of its lines."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar

import sqlalchemy as sa

from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.database import Database, fetch
from onboarding_worker.core.database.encrypted_values import ERASED, Erased, decrypt_opening, read_person
from onboarding_worker.core.database.job_ids import batch_of, job_id, of_batch, row_of
from onboarding_worker.core.database.tables import Batch, CustomerRow, InvitationRow, Job, SessionRow, SkippedLine, work
from onboarding_worker.core.database.tables.columns import aliased
from onboarding_worker.core.foundation.keyring import CannotDecrypt, Keyring
from onboarding_worker.core.foundation.notation import written
from onboarding_worker.core.model.customers import Channel, Details, FieldProblem, invitation_channels
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.sessions import Opening
from onboarding_worker.core.model.states import (
    LIVE_SESSIONS,
    InvitationState,
    JobState,
    LineState,
    SessionState,
    state_of_line,
)
from onboarding_worker.core.rows.own_links import OwnLink, StableLinks
from onboarding_worker.core.rows.verdicts import Verdict, verdict_of_row, verdicts_of
from onboarding_worker.core.rules.contact import FIRST, PREFIX
from onboarding_worker.core.work.store import call_costs
from onboarding_worker.reporting.store.counting import count, later_row
from onboarding_worker.reporting.store.counts import BatchCounts
from onboarding_worker.reporting.store.outlook import opened_late
from onboarding_worker.reporting.store.waiting import left_of
from onboarding_worker.reporting.waits import Place, Waiting

_BEFORE = aliased(SessionRow)  # of a customer who is asked once more
CHUNK = 1000  # report lines read at a time: a million lines must not be in memory at once
# Without the session's secrets: who may report need not be allowed to read them.
_LINES = (
    sa.select(
        Job.id,
        Job.row,
        Job.customer_id,
        Job.purpose,
        work.STATE.label("state"),
        work.RESULT.label("result"),
        sa.func.coalesce(work.LEAD.route, Job.route).label("route"),
        sa.func.coalesce(work.LEAD.brand, Job.brand).label("brand"),
        Job.attempts,
        Job.waits,
        sa.func.coalesce(work.LEAD.priority, Job.priority).label("priority"),
        work.DUE_AT.label("due_at"),
        Job.reason,
        Job.detail,
        work.REASON.label("ended_for"),
        work.DETAIL.label("ended_with"),
        work.ACCOUNT.label("account"),
        work.LEAD_CHANNEL.label("channel"),
        sa.func.coalesce(work.LEAD.id, Job.id).label("lead_id"),
        Batch.id.label("served_by"),
        Batch.pause_reason,
        SessionRow.id.label("session_id"),
        SessionRow.state.label("session_state"),
        SessionRow.reference,
        SessionRow.issued_at,
        SessionRow.expires_at,
        SessionRow.vendor,
        SessionRow.given_away,
        SessionRow.same_link,
        SessionRow.reasons,
        sa.select(_BEFORE.reasons).where(_BEFORE.id == work.REFUSED_SESSION).scalar_subquery().label("refused_for"),
    )
    .join(work.LEAD, work.LEAD.id == Job.leader_id, isouter=True)
    .join(Batch, Batch.id == sa.func.coalesce(work.LEAD.batch_id, Job.batch_id))
    .join(SessionRow, SessionRow.id == sa.func.coalesce(work.LEAD.session_id, Job.session_id), isouter=True)
    .order_by(Job.id)
    .limit(CHUNK)
)
Stored = Details | CannotDecrypt | None  # why it cannot be read; None: erased
_CUSTOMERS = sa.select(CustomerRow.__table__).where(bulk.among(CustomerRow.customer_id, "customers"))
_AS_READ = ("row", "customer_id", "purpose", "result", "account", "route", "brand", "attempts", "waits", "served_by")
# A row in one of these states has a reason of its own: who serves its customer says nothing of it.
_EXPLAINED = (JobState.HELD, JobState.LAPSED, JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True, repr=False)
class LineFacts:
    """One line of the report. `opening` is set only when the caller asks for links."""

    row: int
    customer_id: str
    state: str
    result: str = ""
    reasons: str = ""  # the provider's codes of why it decided so, or refused before
    account: str = ""
    route: str = ""
    brand: str = ""
    reference: str = ""
    issued_at: datetime | None = None
    expires_at: datetime | None = None
    invitation: str = "none"
    attempts: int = 0
    waits: int = 0
    due_at: datetime | None = None  # of the row, of the row that it joined, or of its message that waits
    reason: str = ""
    detail: str = ""
    waiting: Waiting | None = None  # what may keep the row, or the row that it joined
    served_by: int = 0  # the batch of that row
    later: str = ""  # of a rejected line: the later row that has its customer
    late: str = ""  # references of sessions that the provider opened for the row and whose tokens are lost
    opening: Opening = field(default_factory=lambda: Opening(""))
    unreadable: str = ""  # why it has no opening or no details, where the caller asked for them
    purpose: str = ""
    verdict: Verdict = Verdict.NONE  # whether the result is what a webhook has said
    details: Details | None = None  # of the customer, where the caller asked for them; None: erased, or no customer


class Facts:
    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._keyring = keyring
        self.checks_verdicts = True  # False: there is no key to check them with

    def counts(self, batch_id: int) -> BatchCounts:
        with self._database.read() as connection:
            return count(connection, batch_id)

    def credits_left(self, batch_id: int, most: int) -> int:
        with self._database.read() as connection:
            return call_costs.left(connection, batch_id, most, most)

    def left(self, batch_id: int) -> int:
        with self._database.read() as connection:
            return left_of(connection, [batch_id]).get(batch_id, 0)

    def sets(self, batch_id: int) -> dict[str, int]:
        """How many rows of the batch set each column that needs a right. `ix_job_sets` has these rows alone."""
        rows = sa.select(Job.sets, sa.func.count()).where(Job.batch_id == batch_id, sa.text("job.sets <> ''"))
        found = Counter[str]()
        for sets, number in self._database.rows(rows.group_by(Job.sets)):
            found.update(dict.fromkeys(sets.split(), number))
        return dict(sorted(found.items()))

    def lines(self, batch_id: int, *, with_links: bool = False, with_details: bool = False) -> Iterator[LineFacts]:
        """Every line of the batch in order, including refused lines. They are read in chunks."""
        after = 0
        while True:
            with self._database.read() as connection:
                jobs = list(self._job_lines(connection, batch_id, after, with_links=with_links))
                if with_details:
                    found = details_of_customers(connection, self._keyring, {line.customer_id for line in jobs})
                    jobs = [_with_details(line, found.get(line.customer_id)) for line in jobs]
                refusals = list(refused_lines(connection, batch_id, after=after))
            chunk = sorted([*jobs, *refusals], key=lambda line: line.row)[:CHUNK]
            if not chunk:
                return
            yield from chunk
            after = chunk[-1].row

    def lines_of(self, batch_id: int, rows: Collection[int]) -> dict[int, LineFacts]:
        """The lines of these rows that became jobs, by row; not more than a page of them."""
        with self._database.read() as connection:
            those = Job.id.in_([job_id(batch_id, row) for row in rows])
            return {line.row: line for line in self._job_lines(connection, batch_id, 0, those, with_links=False)}

    def _job_lines(
        self, connection: sa.Connection, batch_id: int, after: int, *which: sa.ColumnElement[bool], with_links: bool
    ) -> Iterable[LineFacts]:
        query = _LINES.add_columns(SessionRow.encrypted if with_links else sa.null().label("encrypted"))
        rows = fetch(connection, query.where(of_batch(batch_id, after=after), *which))
        sessions = {row.session_id for row in rows if row.session_id}
        messages = _first_messages(connection, InvitationRow.session_id, sessions)
        # A session that its customer asked for at the stable link has no message: an earlier one led there. Nor has a
        # row without a channel. The session of a cancelled row may serve another list, whose message is not this row's.
        on_their_own = {
            row.lead_id
            for row in rows
            if row.session_id
            and (row.state is JobState.CANCELLED or row.session_id not in messages)
            and row.channel != Channel.NONE
        }
        of_jobs = _first_messages(connection, InvitationRow.job_id, on_their_own)
        late = opened_late(connection, [row.id for row in rows])
        finished = {row.customer_id for row in rows if row.state is JobState.COMPLETED and self.checks_verdicts}
        verdicts = verdicts_of(connection, self._keyring, finished)
        for row in rows:
            opening, unreadable = _opening(self._keyring, row) if with_links else (Opening(""), "")
            bought = row.session_state is not SessionState.DEFERRED
            of_session = messages.get(row.session_id, ())
            its_own = () if row.state is JobState.CANCELLED else of_session
            invitation = _furthest(its_own or of_jobs.get(row.lead_id, ()))
            if invitation == InvitationState.SUPERSEDED:  # the job has no message: perhaps none was written
                unwritten = row.state is JobState.FAILED and row.ended_for == Reason.SUPPRESSED
                invitation = Reason.SUPPRESSED if unwritten else "none"
            waiting = [one for one in of_session if one.state is InvitationState.WAITING]
            yield LineFacts(
                **{name: getattr(row, name) for name in _AS_READ},
                state=str(state_of_line(row.state, joined=row.lead_id != row.id)),
                verdict=verdict_of_row(verdicts, row.customer_id, row) if self.checks_verdicts else Verdict.NONE,
                reasons=row.reasons or row.refused_for or "",
                reference=row.reference or "",
                issued_at=row.issued_at if bought else None,
                expires_at=row.expires_at if bought else None,
                invitation=invitation,
                **_what_waits(row, waiting),
                late=", ".join(late.get(row.id, ())),
                opening=opening,
                unreadable=unreadable,
            )

    def is_resending(self, batch_id: int, *, now: datetime) -> bool:
        """Whether a message of the batch besides the first ones is being sent, or should be by now."""
        waits = sa.and_(InvitationRow.state == InvitationState.WAITING, InvitationRow.due_at <= now)
        under_way = sa.select(InvitationRow.id).where(
            InvitationRow.batch_id == batch_id,
            InvitationRow.kind.like(f"{PREFIX}%"),
            sa.or_(InvitationRow.state == InvitationState.WORKING, waits),
        )
        return self._database.first(under_way.limit(1)) is not None


def details_of_customers(connection: sa.Connection, keyring: Keyring, customers: Collection[str]) -> dict[str, Stored]:
    """What is stored about the known ones of these customers, apart from rows, by id."""
    rows = fetch(connection, _CUSTOMERS, {"customers": bulk.keys(set(customers))})
    return {row.customer_id: _details(keyring, row) for row in rows}


def _with_details(line: LineFacts, stored: Stored) -> LineFacts:
    if isinstance(stored, CannotDecrypt):
        why = f"its details are not shown: {stored}"
        return replace(line, unreadable="; ".join(filter(None, (line.unreadable, why))))
    return replace(line, details=stored)


def _details(keyring: Keyring, row: Any) -> Stored:
    try:
        person = read_person(keyring, row.customer_id, row.encrypted)
    except Erased:
        return None
    except CannotDecrypt as error:
        return error
    return Details(person, row.country, row.locale, row.timezone, row.kind)


# If a session has several messages, the report shows the state that comes first here.
_FURTHEST = [
    InvitationState.DELIVERED,
    InvitationState.SENT,
    InvitationState.HELD,
    InvitationState.WAITING,
    InvitationState.WORKING,
    InvitationState.BOUNCED,
    InvitationState.SUPPRESSED,
    InvitationState.FAILED,
    InvitationState.SUPERSEDED,
]
Id = TypeVar("Id")  # of a session or a job


def _first_messages(connection: sa.Connection, of: sa.Column[Id], ids: Collection[Id]) -> dict[Id, list[sa.Row[Any]]]:
    """By session or by job, its first messages, the one that is due first in front."""
    if not ids:
        return {}
    columns = (InvitationRow.state, InvitationRow.channel, InvitationRow.priority, InvitationRow.due_at)
    query = sa.select(of.label("of"), *columns, InvitationRow.reason, InvitationRow.detail)
    found: dict[Id, list[sa.Row[Any]]] = {}
    those = (of.in_(ids), InvitationRow.kind == FIRST)
    for row in fetch(connection, query.where(*those).order_by(InvitationRow.due_at)):
        found.setdefault(row.of, []).append(row)
    return found


def _furthest(messages: Sequence[sa.Row[Any]]) -> str:
    """The state of the message that got furthest, as the report shows it."""
    state = min((one.state.value for one in messages), key=_place, default=InvitationState.SUPERSEDED.value)
    return "waiting" if state == InvitationState.WORKING else state


def _place(state: str) -> int:
    """The place in `_FURTHEST`; a word that this release does not know comes first, so that a person sees it."""
    return _FURTHEST.index(InvitationState(state)) if state in {*InvitationState} else -1


def _opening(keyring: Keyring, row: sa.Row[Any]) -> tuple[Opening, str]:
    """What the customer needs for the row's session, or why it is not shown; neither, where there is none to show: an
    erased session has no link, and a cancelled row's may be open at its provider, and nobody is to be led there."""
    if row.session_id is None or row.encrypted == ERASED or row.state is JobState.CANCELLED:
        return Opening(""), ""
    try:
        return decrypt_opening(keyring, row.session_id, row.encrypted, vendor=row.vendor), ""
    except (CannotDecrypt, Erased) as error:
        return Opening(""), f"its link is not shown: {error}"


def _what_waits(row: sa.Row[Any], messages: Sequence[sa.Row[Any]]) -> dict[str, Any]:
    """When the row goes on, why not now, and the account and channels that it needs for that."""
    facts: dict[str, Any] = {"due_at": row.due_at, "reason": row.reason, "detail": row.detail}
    if row.state in _EXPLAINED and row.lead_id != row.id:
        return facts | {"reason": row.ended_for, "detail": "; ".join(filter(None, [row.ended_with, row.detail]))}
    waits = row.given_away and not row.same_link and row.session_state in LIVE_SESSIONS
    if row.state is JobState.INVITED and waits and not row.result:  # in review nothing leaves
        until = f"the present link opens there until {written(row.expires_at)}"
        detail = until if row.lead_id == row.id else f"{row.detail}; {until}"
        return facts | {"due_at": row.expires_at, "reason": Reason.ADDRESS_CORRECTED, "detail": detail}
    if row.state is JobState.WAITING:
        senders = invitation_channels(row.channel) if row.ended_for == Reason.WAITS_FOR_SENDER else ()
        return facts | {"waiting": _waiting(row, row.priority, (row.account, *senders), facts)}
    if row.state is JobState.ISSUED and messages:
        first = messages[0]
        facts |= {"due_at": first.due_at} | ({"reason": first.reason, "detail": first.detail} if first.reason else {})
        return facts | {"waiting": _waiting(row, first.priority, [message.channel for message in messages], facts)}
    return facts


def _waiting(row: sa.Row[Any], priority: int, needed: Sequence[str], facts: Mapping[str, Any]) -> Waiting:
    return Waiting(Place.of(row.served_by, row.pause_reason, priority), needed, **facts, brand=row.brand)


def refused_lines(
    connection: sa.Connection, batch_id: int, *which: sa.ColumnElement[bool], after: int, most: int = CHUNK
) -> Iterable[LineFacts]:
    """The next lines after row `after` that became no job."""
    columns = (SkippedLine.row, SkippedLine.customer_id, SkippedLine.duplicate_of, SkippedLine.known)
    those = (SkippedLine.batch_id == batch_id, SkippedLine.row > after, *which)
    query = sa.select(*columns, SkippedLine.problems, later_row().label("later"))
    for row in fetch(connection, query.where(*those).order_by(SkippedLine.row).limit(most)):
        if row.known is not None:
            state, reason, detail = LineState.KNOWN, Reason.KNOWN, row.known
        elif row.duplicate_of is not None:
            state, reason = LineState.DUPLICATE, Reason.DUPLICATE
            detail = f"the same customer as row {row.duplicate_of}"
        else:
            state, reason = LineState.REJECTED, Reason.REJECTED
            detail = "; ".join(FieldProblem(item["column"], item["problem"]).named for item in row.problems)
        is_corrected = state is LineState.REJECTED and row.later is not None
        later = f"row {row_of(row.later)} of batch {batch_of(row.later)}" if is_corrected else ""
        customer_id = row.customer_id or ""
        yield LineFacts(row=row.row, customer_id=customer_id, state=state, reason=reason, detail=detail, later=later)


LINKS = 500  # given out in one transaction
# A row before has nothing to lead to, and one after leads nowhere any more.
_LINKED = (JobState.ISSUED.value, JobState.INVITED.value)


def with_own_links(
    database: Database, keyring: Keyring, links: StableLinks, lines: Iterable[LineFacts], *, now: datetime
) -> Iterator[LineFacts]:
    """The lines with our own link in place of the session's, for those who send the links in another way: in a letter,
    or in a message of their own. A customer without one gets it here: it may never be in a message."""
    lines = iter(lines)
    while chunk := list(islice(lines, LINKS)):
        wanted = {(line.customer_id, line.purpose) for line in chunk if line.state in _LINKED}
        found = {}
        if wanted:
            with database.write() as connection:
                found = links.ensure(connection, keyring, wanted, now=now)
                shown = (one for one in found.values() if isinstance(one, OwnLink))
                links.put_off(connection, shown, now=now)
        for line in chunk:
            own = found.get((line.customer_id, line.purpose)) if line.state in _LINKED else None
            if isinstance(own, OwnLink):
                yield replace(line, opening=replace(line.opening, link=own.address), unreadable="")
            else:
                why = f"its link is not shown: {own}" if own is not None else line.unreadable
                yield replace(line, opening=replace(line.opening, link=""), unreadable=why)
