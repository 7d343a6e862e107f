"""A customer's history as sentences, in the order of their times. Pure. From the row of a list, or an event, to the
result: each session, each call that failed, each message with what became of it, each webhook, each decision of a
person. No sentence has an address, a name, a link or a token."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple

from onboarding_worker.core.database.audit_entries import Entry
from onboarding_worker.core.model.channels import CALLED
from onboarding_worker.core.model.customers import invitation_channels
from onboarding_worker.core.model.reasons import Reason, meaning_of
from onboarding_worker.core.model.states import SessionState
from onboarding_worker.core.rows.verdicts import Verdict
from onboarding_worker.core.rules.contact import is_resend
from onboarding_worker.core.rules.given_links import is_kept_back
from onboarding_worker.core.rules.reconciliation import OrphanRule, unknown_in_words
from onboarding_worker.features.service_desk.case import in_utc, next_step, of_customer
from onboarding_worker.lists.store.batches import DAILY
from onboarding_worker.reporting.steps import step_for
from onboarding_worker.reporting.store.ledger import CustomerFacts, JobFacts, MessageFacts, SessionFacts, place_in_words
from onboarding_worker.reporting.waits import Circumstances, Waiting

MOST_FACTS = 200  # of each kind in a history, the newest


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


class History(NamedTuple):
    """`news`: webhooks about the sessions, as stored, with their accounts. `acts`: about the customer, or about a batch
    of the customer's rows. `stopped`: by channel, why the customer's address gets no messages."""

    facts: CustomerFacts
    calls: Sequence[CallFact] = ()
    news: Sequence[Any] = ()
    acts: Sequence[Entry] = ()
    stopped: Mapping[str, str] = MappingProxyType({})


def timeline(history: History, around: Circumstances, *, now: datetime) -> list[Moment]:
    """The sentences; those about what comes next have times after `now`, or stand at the end."""
    facts = history.facts
    jobs, sessions = facts.jobs[-MOST_FACTS:], facts.sessions[-MOST_FACTS:]
    messages = [(message, session) for session in sessions for message in session.messages]
    beyond = _beyond_the_cap(history, [message for message, _ in messages], around, now)
    moments = [
        *(one for job in jobs for one in _row(job, around, now)),
        *map(_call, history.calls),
        *(one for session in sessions for one in _link(session, around, now)),
        *(
            one
            for index, (message, session) in enumerate(messages)
            for one in _message(message, session, around, now, history.stopped, is_beyond=index in beyond)
        ),
        *map(_news, history.news),
        *map(_act, history.acts),
    ]
    of_them = (one._replace(then=of_customer(one.then, facts.customer_id)) for one in moments)
    return sorted(of_them, key=lambda one: one.at)


def _beyond_the_cap(
    history: History, messages: Sequence[MessageFacts], around: Circumstances, now: datetime
) -> set[int]:
    """The waiting messages, by their places, that the cap lets leave no more once those before them have left. One
    whose outcome is looked up counts already."""
    if around.contact is None:
        return set()
    waits = [
        (message.due_at or now, index)
        for index, message in enumerate(messages)
        if message.state == "waiting" and not message.in_doubt and not history.stopped.get(message.channel)
    ]
    return {index for _, index in sorted(waits)[max(around.contact.caps.messages - history.facts.messages, 0) :]}


def _row(job: JobFacts, around: Circumstances, now: datetime) -> Iterable[Moment]:
    if job.created_at is None:  # its batch was purged
        return
    whence = f"The {'list' if job.is_listed else 'batch'} {job.name}"
    whence = "An event" if not job.is_listed and job.name.startswith(DAILY) else whence
    how = {"both": "by email and text message", "none": "without a message"}.get(job.channel, f"by {job.channel}")
    purpose = "" if job.purpose == "onboarding" else f" for {job.purpose}"
    brings = f"{whence} asks for the customer{purpose}, {how} ({job.place}, account {job.own_account})"
    if job.lead_batch is not None and job.lead_row is not None:
        served = f"{place_in_words(job.lead_row, job.lead_batch)} serves the customer now"
        yield Moment(job.created_at, About.ROW, f"{brings}; {served}.")
        return
    yield Moment(job.created_at, About.ROW, f"{brings}.")
    why = meaning_of(job.reason) if job.reason else ""
    then = step_for(job.state, job.reason, job.batch)
    at = job.changed_at or job.created_at
    match job.state:
        case "completed":
            what = "Finished" if job.reason != Reason.ALREADY_FINISHED else "Skipped: the customer has finished"
            doubt = f" ({doubt})" if (doubt := Verdict(job.verdict).doubt) else ""
            yield Moment(at, About.RESULT, f"{what}: {job.result or 'no result is known'}{doubt}.")
        case "lapsed":
            yield Moment(at, About.TROUBLE, f"Given up: {why or 'the customer never finished'}.", then)
        case "held" | "failed" as state:
            detail = f" ({job.detail})" if job.detail and job.detail != why else ""
            text = f"The row {'is held' if state == 'held' else 'failed'}: {why or 'no reason is stored'}{detail}."
            yield Moment(at, About.TROUBLE, text, then)
        case "cancelled":
            yield Moment(at, About.RESULT, f"Cancelled{f': {why}' if why else ''}.")
        case "waiting":
            senders = invitation_channels(job.channel) if job.reason == Reason.WAITS_FOR_SENDER else ()
            needed = (job.account, *senders)
            waiting = around.now(Waiting(job.waits_in, needed, job.due_at, job.reason, brand=job.brand))
            job = job._replace(reason=waiting.reason)
            then = step_for(job.state, job.reason, job.batch)
            step = next_step(_asked(job, senders, around, now), waiting, around, now=now)
            yield Moment(step.until or now, About.NEXT, step.detail, step.step or then)
        case "working":
            asked = f"is asked for a session{f' ({why})' if why else ''}"
            what = _ASKS_ABOUT_SESSION if job.needs_status_check else asked
            yield Moment(now, About.NEXT, f"Next: {job.account} {what}.")


_ASKS_ABOUT_SESSION = "is asked what became of the session; a new one follows only if the customer has not finished it"


def _asked(job: JobFacts, senders: Sequence[str], around: Circumstances, now: datetime) -> str:
    """What the account of a waiting row is asked."""
    if job.in_doubt and job.reason == Reason.ORPHAN:
        rule = (around.orphans or {}).get(job.account, OrphanRule())
        ends = rule.known_by(job.called_at, now) if job.called_at is not None else None
        by = f", by {in_utc(ends)} at the latest" if ends is not None else ""
        return (
            f"{job.account} is asked whether the session whose token was lost has ended; a new session is asked for"
            f" after its end{by}"
        )
    if job.in_doubt and job.reason == Reason.UNKNOWN:  # a conflict was answered
        return f"the worker goes on with a call to {job.account} whose answer was lost"
    if job.needs_status_check:
        return f"{job.account} {_ASKS_ABOUT_SESSION}"
    causes = [around.blocked[name][0].in_words for name in senders if name in around.blocked]
    why = " and ".join(causes) or (meaning_of(job.reason) if job.reason else "")
    return f"{job.account} is asked for a session{f' ({why})' if why else ''}"


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


def _link(link: SessionFacts, around: Circumstances, now: datetime) -> Iterable[Moment]:
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
    if link.update_at is not None:
        result = f": {link.result}" if link.result and not in_review else ""
        said = {"started": "the customer has begun", "completed": "the customer has finished"}.get(link.state)
        said = "the customer has finished" if result else said  # a refusal, too
        said = "the customer has submitted, and is in review" if in_review else said
        why = f" ({', '.join(link.reasons)})" if link.reasons else ""
        text = f"{link.account} says: {said or f'the session is {link.state}'}{result}{why}."
        yield Moment(link.update_at, About.RESULT, text)
    elif link.state is SessionState.EXPIRED:
        yield Moment(min(link.expires_at, now), About.LINK, "The session ended, and no result of it has come.")
    elif link.state is SessionState.SUPERSEDED:
        # Another follows, or none: after "not me", or until the customer opens a link that was moved.
        at = link.replaced_at or min(link.expires_at, now)
        opens = f"; who has its link can open it until {until}" if link.expires_at > at else ""
        yield Moment(at, About.LINK, f"The session is superseded{opens}.")
    if link.state in ("waiting", "started") and not in_review and link.expires_at <= now:
        yield Moment(link.expires_at, About.LINK, "The link ended. A result of its session may still come.")
    elif link.state in ("waiting", "started") and not in_review:
        # By schedule, or when the customer comes by our own link, which does not end with its session.
        then, early = " Another may follow." if link.may_follow else "", None
        if link.may_follow and link.state is SessionState.WAITING and not link.given_away and not around.has_own_links:
            early = around.early_at(link.account, link.issued_at, link.expires_at)
        if early is not None:
            then = f" If the customer has not begun, another may replace it from {in_utc(early)} on."
        yield Moment(link.expires_at, About.NEXT, f"Next: the session ends, if the customer does not finish.{then}")
    if link.given_away and link.state in ("waiting", "started", "superseded") and link.expires_at > now:
        waits = link.state is not SessionState.SUPERSEDED and not link.same_link
        gets = " The new address gets no link before." if waits and link.may_follow else ""
        text = f"Until then the link opens at an address that was corrected since.{gets}"
        may_go = waits and link.sendable and not in_review
        then = "`onboard customer resend ID --same-link` sends it to the new address now" if may_go else ""
        yield Moment(link.expires_at, About.TROUBLE, text, then)


MAY_HAVE_LEFT = "may have left"
_DROPPED_AT_THE_END = (Reason.SESSION_ENDED, Reason.CANCELLED, Reason.ABANDONED, Reason.ERASED)


def _message(
    message: MessageFacts,
    session: SessionFacts,
    around: Circumstances,
    now: datetime,
    stopped: Mapping[str, str],
    *,
    is_beyond: bool = False,
) -> Iterable[Moment]:
    name = CALLED.get(message.channel, message.channel)
    if message.kind.startswith("reminder"):
        what = f"A reminder by {name}"
    elif is_resend(message.kind):
        what = f"Another {name} with the link"
    else:
        what = f"The {name} with the {'new ' if message.new_link else ''}link"
    why = meaning_of(message.reason) if message.reason else ""
    # Our own link leads on, whatever its session has become.
    is_over = session.state == SessionState.SUPERSEDED and not around.has_own_links
    no_mail = stopped.get(message.channel, "")
    kept_back = is_kept_back(session.given_away, same_link=session.same_link, channel=message.channel)
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
            # A row that goes on has another session.
            over_at = message.over_at or session.update_at or session.expires_at
            ended = over_at if message.reason in _DROPPED_AT_THE_END else None
            moment = ended or min(message.due_at or message.created_at, now)
            fate = MAY_HAVE_LEFT if message.in_doubt else "was dropped"
            yield Moment(moment, About.MESSAGE, f"{what} {fate}{f': {why}' if why else ''}.")
        case "waiting" if no_mail or kept_back or is_beyond or is_over:
            cause = Reason.ADDRESS_CORRECTED if kept_back else Reason.MESSAGES_SPENT
            cause = Reason.SESSION_ENDED if is_over else cause
            text = f"Next: {_lower(what)} is dropped: {no_mail or cause.meaning}."
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
