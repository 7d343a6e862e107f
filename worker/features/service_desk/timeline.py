"""A customer's history as sentences, in the order of their times. Pure. From the row of a list, or an event, to the
result: each session, each call that failed, each message with what became of it, each webhook, each decision of a
person. No sentence has an address, a name, a link or a token."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from onboarding_worker.core.database.audit_entries import Entry
from onboarding_worker.core.messages.contact import is_resend
from onboarding_worker.core.model.channels import CALLED
from onboarding_worker.core.model.reasons import Reason, meaning_of
from onboarding_worker.core.model.states import SessionState
from onboarding_worker.core.unknown.reconciliation import OrphanRule, unknown_in_words
from onboarding_worker.features.service_desk.case import in_utc, next_step, of_customer, place_in_words
from onboarding_worker.reporting.steps import step_for
from onboarding_worker.reporting.store.ledger import SessionFacts
from onboarding_worker.reporting.waits import Circumstances, Place, Waiting


class About(StrEnum):
    """What a moment is about, for its mark."""

    ROW = "row"
    CALL = "call"
    LINK = "link"
    MESSAGE = "message"
    RESULT = "result"
    PERSON = "person"
    BATCH = "batch"  # what a person did to a whole batch
    TROUBLE = "trouble"
    NEXT = "next"


class Moment(NamedTuple):
    """One sentence. `then` is what a person can do about it."""

    at: datetime
    about: About
    text: str
    then: str = ""


class RowFact(NamedTuple):
    """A row of a list, or an event. `joined`: the place of the row that serves the customer; "" for that row itself.
    `senders`: those that it waits for. `in_doubt`: it is not known what its call did, which was made at `called_at`.
    `needs_status_check`: it is due for a look-up of its session."""

    batch_id: int
    batch: str
    row: int
    purpose: str
    channel: str
    account: str
    state: str
    reason: str
    detail: str
    result: str
    created_at: datetime
    changed_at: datetime
    due_at: datetime | None = None
    joined: str = ""
    is_listed: bool = True
    is_event: bool = False
    waits_in: Place = Place()
    senders: tuple[str, ...] = ()
    in_doubt: bool = False
    called_at: datetime | None = None
    needs_status_check: bool = False
    brand: str = ""
    doubt: str = ""  # of its result

    @property
    def place(self) -> str:
        return place_in_words(self.row, self.batch_id)


class CallFact(NamedTuple):
    """A call that was made and did not end well, or is open. `channel` "" for a provider's; `looks_up`: asks about
    one. `found_nothing`: that one opened no session."""

    at: datetime
    account: str
    channel: str
    outcome: str
    status: int | None
    detail: str
    looks_up: bool = False
    found_nothing: bool = False


@dataclass(frozen=True)
class LinkFact(SessionFacts):
    """`told_at`: when the provider's last update was made. `may_follow`: whether another may follow at its end, because
    a row that has not ended has it. `replaced_at`: when the session that replaces it was opened. `called`: a call of
    ours is stored that may have opened it; another tool's session has none."""

    told_at: datetime | None = None
    may_follow: bool = False
    replaced_at: datetime | None = None
    called: bool = True
    sendable: bool = False  # its row has not ended, and asks for no other session
    given_away: bool = False  # to an address that was corrected since
    same_link: bool = False  # it goes to the new address all the same


class MessageFact(NamedTuple):
    """A message. `over_at`: when the row that has its session ended; None: it has not, or has another session now.
    `in_doubt`: it may have left; nobody knows. `stopped`: why its address gets no messages now."""

    channel: str
    kind: str
    state: str
    reason: str
    created_at: datetime
    due_at: datetime | None = None
    sent_at: datetime | None = None
    delivery_at: datetime | None = None
    unknown_handovers: int = 0
    waits_in: Place = Place()
    over_at: datetime | None = None
    in_doubt: bool = False
    kept_back: bool = False  # its link went to an address that was corrected since
    detail: str = ""
    stopped: str = ""
    brand: str = ""
    session_state: str = ""
    session_over_at: datetime | None = None  # if it is over


class History(NamedTuple):
    """`news`: webhooks about the sessions, as stored, with their accounts. `acts`: about the customer, or about a batch
    of the customer's rows. `had`: how many messages count against the customer's cap, with those that are being sent or
    looked up."""

    rows: Sequence[RowFact] = ()
    calls: Sequence[CallFact] = ()
    links: Sequence[LinkFact] = ()
    messages: Sequence[MessageFact] = ()
    news: Sequence[Any] = ()
    acts: Sequence[Entry] = ()
    had: int = 0
    customer_id: str = "ID"


def timeline(history: History, around: Circumstances, *, now: datetime) -> list[Moment]:
    """The sentences; those about what comes next have times after `now`, or stand at the end."""
    beyond = _beyond_the_cap(history, around, now)
    moments = [
        *(one for row in history.rows for one in _row(row, around, now)),
        *map(_call, history.calls),
        *(one for link in history.links for one in _link(link, around, now)),
        *(
            one
            for index, message in enumerate(history.messages)
            for one in _message(message, around, now, is_beyond=index in beyond)
        ),
        *map(_news, history.news),
        *map(_act, history.acts),
    ]
    of_them = (one._replace(then=of_customer(one.then, history.customer_id)) for one in moments)
    return sorted(of_them, key=lambda one: one.at)


def _beyond_the_cap(history: History, around: Circumstances, now: datetime) -> set[int]:
    """The waiting messages, by their places, that the cap lets leave no more once those before them have left. One
    whose outcome is looked up counts already."""
    if around.contact is None:
        return set()
    waits = [
        (message.due_at or now, index)
        for index, message in enumerate(history.messages)
        if message.state == "waiting" and not message.in_doubt and not message.stopped
    ]
    return {index for _, index in sorted(waits)[max(around.contact.caps.messages - history.had, 0) :]}


def _row(row: RowFact, around: Circumstances, now: datetime) -> Iterable[Moment]:
    whence = "An event" if row.is_event else f"The {'list' if row.is_listed else 'batch'} {row.batch}"
    how = {"both": "by email and text message", "none": "without a message"}.get(row.channel, f"by {row.channel}")
    purpose = "" if row.purpose == "onboarding" else f" for {row.purpose}"
    brings = f"{whence} asks for the customer{purpose}, {how} ({row.place}, account {row.account})"
    served = f"; {row.joined} serves the customer now" if row.joined else ""
    yield Moment(row.created_at, About.ROW, f"{brings}{served}.")
    if row.joined:
        return
    why = meaning_of(row.reason) if row.reason else ""
    then = step_for(row.state, row.reason, row.batch_id)
    match row.state:
        case "completed":
            what = "Finished" if row.reason != Reason.ALREADY_FINISHED else "Skipped: the customer has finished"
            doubt = f" ({row.doubt})" if row.doubt else ""
            yield Moment(row.changed_at, About.RESULT, f"{what}: {row.result or 'no result is known'}{doubt}.")
        case "lapsed":
            yield Moment(row.changed_at, About.TROUBLE, f"Given up: {why or 'the customer never finished'}.", then)
        case "held" | "failed" as state:
            detail = f" ({row.detail})" if row.detail and row.detail != why else ""
            text = f"The row {'is held' if state == 'held' else 'failed'}: {why or 'no reason is stored'}{detail}."
            yield Moment(row.changed_at, About.TROUBLE, text, then)
        case "cancelled":
            yield Moment(row.changed_at, About.RESULT, f"Cancelled{f': {why}' if why else ''}.")
        case "waiting":
            needed = (row.account, *row.senders)
            waiting = around.now(Waiting(row.waits_in, needed, row.due_at, row.reason, brand=row.brand))
            row = row._replace(reason=waiting.reason)
            then = step_for(row.state, row.reason, row.batch_id)
            step = next_step(_asked(row, around, now), waiting, around, now=now)
            yield Moment(step.until or now, About.NEXT, step.detail, step.step or then)
        case "working":
            asked = f"is asked for a session{f' ({why})' if why else ''}"
            what = _ASKS_ABOUT_SESSION if row.needs_status_check else asked
            yield Moment(now, About.NEXT, f"Next: {row.account} {what}.")


_ASKS_ABOUT_SESSION = "is asked what became of the session; a new one follows only if the customer has not finished it"


def _asked(row: RowFact, around: Circumstances, now: datetime) -> str:
    """What the account of a waiting row is asked."""
    if row.in_doubt and row.reason == Reason.ORPHAN:
        rule = (around.orphans or {}).get(row.account, OrphanRule())
        ends = rule.known_by(row.called_at, now) if row.called_at is not None else None
        by = f", by {in_utc(ends)} at the latest" if ends is not None else ""
        return (
            f"{row.account} is asked whether the session whose token was lost has ended; a new session is asked for"
            f" after its end{by}"
        )
    if row.in_doubt and row.reason == Reason.UNKNOWN:  # a conflict was answered
        return f"the worker goes on with a call to {row.account} whose answer was lost"
    if row.needs_status_check:
        return f"{row.account} {_ASKS_ABOUT_SESSION}"
    causes = [around.blocked[name][0].in_words for name in row.senders if name in around.blocked]
    why = " and ".join(causes) or (meaning_of(row.reason) if row.reason else "")
    return f"{row.account} is asked for a session{f' ({why})' if why else ''}"


def _call(call: CallFact) -> Moment:
    whom = f"The {CALLED.get(call.channel, call.channel)} server" if call.channel else call.account
    said = f"{call.status}, " if call.status else ""
    detail = f": {call.detail}" if call.detail else ""
    match call.outcome:
        case "":
            text = f"{whom} was called; no answer is stored yet{detail}."
        case "unknown" | "late":
            text = f"{whom} was called, and the answer was lost: it is not known what it did{detail}."
        case _ if call.found_nothing:
            text = f"{whom} was asked what became of a call: it had opened no session, and may be made again{detail}."
        case outcome:
            verb = "was asked what became of a call" if call.looks_up else "was called"
            text = f"{whom} {verb}: {said}{outcome.replace('_', ' ')}{detail}."
    calm = call.looks_up or call.outcome in ("", "rate_limited", "more")
    return Moment(call.at, About.CALL if calm else About.TROUBLE, text)


def _link(link: LinkFact, around: Circumstances, now: datetime) -> Iterable[Moment]:
    if link.state == SessionState.DEFERRED:
        text = f"Our own link is ready: a session of {link.account} is bought when the customer presses its button."
        yield Moment(link.issued_at, About.LINK, text)
        return
    first = link.because == Reason.FIRST_SESSION
    why = "" if first else f" ({meaning_of(link.because)})"
    opened = f"{link.account} opened {'a' if first else 'another'} session{why}"
    opened = opened if link.called else f"{link.account} has a session of the customer, which no stored call opened"
    until = in_utc(link.expires_at)
    yield Moment(link.issued_at, About.LINK, f"{opened}. Its link works until {until}. Reference {link.reference}.")
    in_review = link.result == "review"
    if link.told_at is not None:
        result = f": {link.result}" if link.result and not in_review else ""
        said = {"started": "the customer has begun", "completed": "the customer has finished"}.get(link.state)
        said = "the customer has finished" if result else said  # a refusal, too
        said = "the customer has submitted, and is in review" if in_review else said
        why = f" ({', '.join(link.reasons)})" if link.reasons else ""
        text = f"{link.account} says: {said or f'the session is {link.state}'}{result}{why}."
        yield Moment(link.told_at, About.RESULT, text)
    elif link.state == "expired":
        yield Moment(min(link.expires_at, now), About.LINK, "The session ended, and no result of it has come.")
    elif link.state == "superseded":
        # Another follows, or none: after "not me", or until the customer opens a link that was moved.
        at = link.replaced_at or min(link.expires_at, now)
        opens = f"; who has its link can open it until {until}" if link.expires_at > at else ""
        yield Moment(at, About.LINK, f"The session is superseded{opens}.")
    if link.state in ("waiting", "started") and not in_review and link.expires_at <= now:
        yield Moment(link.expires_at, About.LINK, "The link ended. A result of its session may still come.")
    elif link.state in ("waiting", "started") and not in_review:
        # By schedule, or when the customer comes by our own link, which does not end with its session.
        then, early = " Another may follow." if link.may_follow else "", None
        if link.may_follow and link.state == "waiting" and not link.given_away and not around.has_own_links:
            early = around.early_at(link.account, link.issued_at, link.expires_at)
        if early is not None:
            then = f" If the customer has not begun, another may replace it from {in_utc(early)} on."
        yield Moment(link.expires_at, About.NEXT, f"Next: the session ends, if the customer does not finish.{then}")
    if link.given_away and link.state in ("waiting", "started", "superseded") and link.expires_at > now:
        waits = link.state != "superseded" and not link.same_link
        gets = " The new address gets no link before." if waits and link.may_follow else ""
        text = f"Until then the link opens at an address that was corrected since.{gets}"
        may_go = waits and link.sendable and not in_review
        then = "`onboard customer resend ID --same-link` sends it to the new address now" if may_go else ""
        yield Moment(link.expires_at, About.TROUBLE, text, then)


MAY_HAVE_LEFT = "may have left"
_DROPPED_AT_THE_END = (Reason.SESSION_ENDED, Reason.CANCELLED, Reason.ABANDONED, Reason.ERASED)


def _message(
    message: MessageFact, around: Circumstances, now: datetime, *, is_beyond: bool = False
) -> Iterable[Moment]:
    name = CALLED.get(message.channel, message.channel)
    if message.kind.startswith("reminder"):
        what = f"A reminder by {name}"
    elif is_resend(message.kind):
        what = f"Another {name} with the link"
    else:
        what = f"The {name} with the {'new ' if message.kind == 'new_link' else ''}link"
    why = meaning_of(message.reason) if message.reason else ""
    # Our own link leads on, whatever its session has become.
    is_over = message.session_state == SessionState.SUPERSEDED and not around.has_own_links
    if message.sent_at is not None:
        unknown = f" ({unknown_in_words(message.unknown_handovers)})" if message.unknown_handovers else ""
        left = f"counts as sent: {why}" if message.reason == Reason.SENT_BY_PROVIDER else f"left{unknown}"
        yield Moment(message.sent_at, About.MESSAGE, f"{what} {left}.")
    match message.state:
        case "delivered":
            yield Moment(message.delivery_at or message.sent_at or now, About.MESSAGE, f"{what} was delivered.")
        case "bounced":
            came = message.delivery_at or message.sent_at or message.created_at
            # A row that ended says itself what to do.
            then = "" if message.over_at is not None else "`onboard customer address` corrects the address"
            yield Moment(came, About.TROUBLE, f"{what} came back{f': {why}' if why else ''}.", then)
        case "held" | "failed" | "suppressed" as state:
            fate = {"held": MAY_HAVE_LEFT, "failed": "could not be sent", "suppressed": "was not sent"}[state]
            fate = MAY_HAVE_LEFT if message.in_doubt else fate
            # Another address of the customer may be written to.
            why = message.detail or why if state == "suppressed" else why
            at = message.due_at or message.created_at
            yield Moment(at, About.TROUBLE, f"{what} {fate}{f': {why}' if why else ''}.")
        case "superseded":
            over_at = message.over_at or message.session_over_at  # a row that goes on has another session
            ended = over_at if message.reason in _DROPPED_AT_THE_END else None
            moment = ended or min(message.due_at or message.created_at, now)
            fate = MAY_HAVE_LEFT if message.in_doubt else "was dropped"
            yield Moment(moment, About.MESSAGE, f"{what} {fate}{f': {why}' if why else ''}.")
        case "waiting" if message.stopped or message.kept_back or is_beyond or is_over:
            cause = Reason.ADDRESS_CORRECTED if message.kept_back else Reason.MESSAGES_SPENT
            cause = Reason.SESSION_ENDED if is_over else cause
            text = f"Next: {_lower(what)} is dropped: {message.stopped or cause.meaning}."
            yield Moment(max(message.due_at or now, now), About.NEXT, text)
        case "waiting":
            because = f" ({why})" if why and message.reason != Reason.REMINDER else ""
            needed, brand = (message.channel,), message.brand
            waiting = Waiting(message.waits_in, needed, message.due_at, message.reason, brand=brand)
            step = next_step(f"{_lower(what)} leaves{because}", waiting, around, now=now)
            yield Moment(step.until or now, About.NEXT, step.detail, step.step)
        case "working":
            yield Moment(now, About.MESSAGE, f"{what} is being sent at this moment.")


def _news(news: Any) -> Moment:
    state = {"applied": "", "waiting": " It waits to be read.", "ignored": " It said nothing new."}.get(
        news.state, f" {news.state.capitalize()}: a person should look (`onboard events webhooks list`)."
    )
    return Moment(news.at, About.CALL, f"A webhook of {news.account} came: {news.event}.{state}")


def _act(act: Entry) -> Moment:
    on = f" on {act.subject}" if act.subject.startswith("batch ") else ""
    why = f": {act.reason}" if act.reason else ""
    about = About.BATCH if on and " row" not in act.subject else About.PERSON
    return Moment(act.at, about, f"{act.actor}: {act.action}{on}{why}.")


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
