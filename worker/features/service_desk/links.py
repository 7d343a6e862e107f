"""Whether the customer may have a link now: the present one again, on which channel and when; or another session, which
costs a credit; and what a corrected address gets. Pure.

A resend is a message of its own: it counts against the caps, waits for quiet hours, and leaves only with a link that is
fresh enough, like any other message. A pause of its batch does not hold it: a person has decided. Our own link survives
its session: it may be sent as long as a visitor of it would get a session, present or next.

Another session replaces the present one as a reissue does (`core.rules.reissue`), under the same caps; a person
learns here what stands against it. Only the time between two sessions of a customer (`[follow_up] spacing`) does not
hold: a person has decided that it is needed now.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from onboarding_worker.core.model.channels import CALLED, CHANNELS
from onboarding_worker.core.model.customers import Channel, invitation_channels
from onboarding_worker.core.model.reasons import Reason, meaning_of
from onboarding_worker.core.model.states import (
    LIVE_SESSIONS,
    UNDELIVERED_INVITATIONS,
    UNISSUED_JOBS,
    InvitationState,
    JobState,
    SessionState,
)
from onboarding_worker.core.model.wakeups import WakeUp
from onboarding_worker.core.rules.contact import FIRST, is_stale, may_send, next_kind, spent
from onboarding_worker.core.rules.given_links import (
    AnotherSession,
    GivenLink,
    Spent,
    WaitForEnd,
    after_corrected_address,
)
from onboarding_worker.core.rules.quiet_hours import allowed_at
from onboarding_worker.core.rules.reissue import SETTLES, asked_since_end
from onboarding_worker.features.service_desk.case import (
    Case,
    DeskRules,
    Refused,
    from_utc,
    in_a_pause,
    in_utc,
    not_serviceable,
    under_way,
)
from onboarding_worker.reporting.store.ledger import JobFacts, MessageFacts, SessionFacts

# A mail may take some minutes. Two clicks, or two clerks, must not make two messages.
SPACING = timedelta(minutes=10)
# Our own link leads to the next session after one in such a state.
_REPLACED = LIVE_SESSIONS | {SessionState.EXPIRED, SessionState.SUPERSEDED}
_ADDRESS = {"email": "email address", "phone": "phone number"}


@dataclass(frozen=True)
class Resend:
    """The message to add: `kind` is its name. `reopens`: the row has failed, and is invited again by this message.
    `given_away`: an address that was corrected since has the link, too."""

    channel: str
    kind: str
    due_at: datetime
    expires_at: datetime
    reopens: bool = False
    given_away: bool = False


def decide_resend(
    rules: DeskRules,
    case: Case,
    channel: str | None,
    *,
    now: datetime,
    to_new_address: bool = False,
    same_link: bool = False,
) -> Resend | Refused:
    """`channel` None: the row's own, the first on which the customer can be reached. `to_new_address`: the customer's
    address was just corrected, so that the messages before went elsewhere; a list corrects many at once, so that these
    wait for the end of a pause. `same_link`: also a link that went to an address that was corrected."""
    refused = not_serviceable(case) or _without_link(rules, case, now)
    if refused is None and to_new_address:
        refused = in_a_pause(case.row)
    elif refused is None and case.stopped:
        refused = Refused(case.stopped, "`onboard resume --all` goes on")
    if refused is None and not same_link and (until_then := opens_until(case, now)) is not None:
        opens = f"the link went to an address that was corrected since, and opens there until {in_utc(until_then)}"
        refused = Refused(opens, "`onboard customer resend ID --same-link` sends it all the same")
    if refused is not None:
        return refused
    row, link = case.row, case.link
    assert row is not None and link is not None  # noqa: S101, PT018 -- for mypy: `_without_link` has refused others
    if row.is_being_paused:
        return Refused(f"batch {row.batch} is being paused at this moment", "try again in a minute")
    chosen = _channel(rules, case, channel)
    if isinstance(chosen, Refused):
        return chosen
    if (refused := under_way(case, (*invitation_channels(row.channel), chosen))) is not None:
        return refused
    due_at = allowed_at(case.zones, rules.contact.hours.quiet.get(chosen), now)
    until = link.expires_at if rules.link_valid is None else due_at + rules.link_valid
    if is_stale(until, floor=timedelta(seconds=row.floor_seconds), now=due_at):
        lives = f"the link works only until {in_utc(link.expires_at)}, too short a time for a message that leaves now"
        return Refused(lives, "after its end `onboard customer new-link` sends another")
    on_channel = [message for message in case.of_link if message.channel == chosen]
    refused = _too_soon(row, on_channel, chosen, now=now, to_new_address=to_new_address or link.is_given_away)
    if refused is not None:
        return refused
    if not may_send(rules.contact.caps, case.messages):
        why = f"{meaning_of(Reason.MESSAGES_SPENT)} ({rules.contact.caps.messages})"
        return Refused(why, "reach the customer otherwise")
    failed = row.state is JobState.FAILED
    first = next((message for message in on_channel if message.kind == FIRST), None)
    again = first is None or (failed and first.state in UNDELIVERED_INVITATIONS)
    kind = FIRST if again else next_kind(message.kind for message in on_channel)
    return Resend(chosen, kind, due_at, until, reopens=failed, given_away=link.is_given_away and link.works(now))


def _what_follows(row: JobFacts) -> str:
    """What a session that is being asked for brings the customer."""
    if row.link_requested_at is not None:
        return "no message follows: the link that the customer has opened leads to it"
    return "its message follows by itself"


def _without_link(rules: DeskRules, case: Case, now: datetime) -> Refused | None:
    row, link = case.row, case.link
    if row is not None and row.state in UNISSUED_JOBS:
        when = f" (due {in_utc(row.due_at)})" if row.due_at is not None else ""
        # The words of `what_follows` say more than this reason.
        why = f": {meaning_of(row.reason)}" if row.reason and row.reason != Reason.PRESSED else ""
        return Refused(f"the customer's session is not open yet{when}{why}", _what_follows(row))
    if link is not None and link.works(now) and link.is_readable and row is not None:
        return None
    if row is not None and link is not None and rules.link_valid is not None:
        # Our own link leads to another session after this one: as `stable_links` decides at the visit.
        open_ = row.state in (JobState.ISSUED, JobState.INVITED) and link.state in _REPLACED
        if open_ and case.sessions <= rules.contact.caps.reissues:
            return None
    if row is not None and row.state is JobState.FAILED:
        why = f"{row.place} has failed: {meaning_of(row.reason)}"
        return Refused(why, f"`onboard retry {row.batch} --row {row.row}` opens a session")
    ended = f"the customer's link ended {in_utc(link.expires_at)}" if link is not None else "the customer has no link"
    return Refused(ended, "`onboard customer new-link` sends another")


def _channel(rules: DeskRules, case: Case, asked: str | None) -> str | Refused:
    """The channel of the message."""
    row = case.row
    own = invitation_channels(row.channel) if row is not None else ()
    if not own:
        return Refused("the list asks for no message to this customer (channel none)", "`onboard report --with-links`")
    candidates = [asked] if asked is not None else list(own)
    for channel in candidates:
        if channel in rules.channels and case.ways.get(channel) == "":
            return channel
    channel = candidates[0]
    address = _ADDRESS[CHANNELS[channel].address]
    if channel not in rules.channels:
        return Refused(f"no sender is configured for {channel}", f"add [{channel}] to the configuration")
    if channel not in case.ways:
        option = f"--{CHANNELS[channel].address}"
        return Refused(f"the customer has no {address}", f"`onboard customer address ID {option} …` adds one")
    then = "`onboard customer address` corrects it; `onboard suppress --remove` lifts a suppression"
    return Refused(f"the customer's {address} gets no messages: {case.ways[channel]}", then)


def _too_soon(
    row: JobFacts, messages: list[MessageFacts], channel: str, *, now: datetime, to_new_address: bool
) -> Refused | None:
    """Why no message is added: one is about to leave, or has just left."""
    for message in messages:
        waits = message.state is InvitationState.WAITING and not message.kind.startswith("reminder-")
        if waits and message.kind == FIRST and (refused := in_a_pause(row)) is not None:
            return refused
        if waits:
            when = f", due {in_utc(message.due_at)}" if message.due_at is not None else ""
            return Refused(f"one {CALLED[channel]} with the link is waiting to leave already{when}", "it leaves itself")
    if to_new_address:
        return None
    left = max((message.sent_at for message in messages if message.sent_at is not None), default=None)
    if left is not None and left + SPACING > now:
        why = f"one {CALLED[channel]} with the link left at {in_utc(left)}, and may still be on its way"
        return Refused(why, f"send it again after {from_utc(left + SPACING)}")
    return None


# A row that waits for one of these reasons waits for the time of a session that is allowed already.
_MAY_HURRY = (Reason.SESSION_EXPIRED, Reason.NEW_LINK)

SAME_LINK = "`onboard customer resend ID --same-link` sends the present link to the new address now"


class Before(StrEnum):
    """What becomes of the present session."""

    NOTHING = "nothing"  # it has ended already, or there was none
    SUPERSEDED = "superseded"  # its link still opens, and a result through it counts
    EXPIRED = "expired"  # it is over by our clock
    ASKED = "asked"  # it is over by our clock: the provider is asked first whether the customer has finished


@dataclass(frozen=True)
class NewLink:
    """The session to ask for. `number`: which of the customer's sessions it is, of at most `most`."""

    account: str
    before: Before
    number: int
    most: int
    channels: tuple[str, ...]

    @property
    def due(self) -> tuple[WakeUp, ...]:
        """The wake-up, once it was asked for."""
        return (WakeUp.issue(self.account),)

    @property
    def before_in_words(self) -> str:
        """What becomes of the present session, where that is worth a sentence."""
        if self.before is Before.ASKED:
            return "First the provider is asked whether the customer has finished."
        return "The present link still opens until its end." if self.before is Before.SUPERSEDED else ""


def decide_new_link(rules: DeskRules, case: Case, *, now: datetime) -> NewLink | Refused:
    refused = not_serviceable(case) or in_a_pause(case.row) or _not_now(case, now)
    if refused is not None:
        return refused
    row, link = case.row, case.link
    assert row is not None  # noqa: S101 -- for mypy: refused above
    channels = invitation_channels(row.channel)
    if (refused := under_way(case, channels)) is not None:
        return refused
    cap = spent(rules.contact.caps, reissues=case.sessions - 1, messages=case.messages)
    if cap is not None:
        most = rules.contact.caps.reissues if cap is Reason.REISSUES_SPENT else rules.contact.caps.messages
        return Refused(f"{meaning_of(cap)} ({most})", "reach the customer otherwise")
    if rules.contact.per_day is not None and case.reissued_today >= rules.contact.per_day:
        return Refused(meaning_of(Reason.DAY_CAP), "ask again tomorrow, after 00:00 UTC")
    if channels and not any(case.ways.get(channel) == "" for channel in channels):
        why = next((case.ways[channel] for channel in channels if channel in case.ways), "there is no address")
        return Refused(f"a new link could not be sent: {why}", "correct the address first: `onboard customer address`")
    before = _before(rules, row, link, now=now)
    if isinstance(before, Refused):
        return before
    return NewLink(row.account, before, case.sessions + 1, rules.contact.caps.reissues + 1, channels)


def _not_now(case: Case, now: datetime) -> Refused | None:
    row, link = case.row, case.link
    if row is None:
        return None
    if row.state is JobState.FAILED:
        why = f"{row.place} has failed: {meaning_of(row.reason)}"
        return Refused(why, f"`onboard retry {row.batch} --row {row.row}` tries it again")
    if row.state is JobState.WORKING or (row.state is JobState.WAITING and row.reason not in _MAY_HURRY):
        when = f", due {in_utc(row.due_at)}" if row.due_at is not None else ""
        return Refused(f"a session is being asked for already{when}", _what_follows(row))
    if row.state is JobState.WAITING and row.due_at is not None and row.due_at <= now:
        return Refused("a new session is being asked for already", _what_follows(row))
    if row.state is JobState.ISSUED and link is not None and link.works(now) and row.channel is not Channel.NONE:
        return Refused("the present link has not been sent yet", "its message follows by itself")
    return None


def _before(rules: DeskRules, row: JobFacts, link: SessionFacts | None, *, now: datetime) -> Before | Refused:
    if link is None or link.state is SessionState.EXPIRED or row.state is JobState.WAITING:
        return Before.NOTHING
    if link.state is SessionState.DEFERRED:
        why = "the customer's link leads to a session already, which is bought when the customer comes"
        return Refused(why, "`onboard customer resend` sends the link again")
    if link.state not in LIVE_SESSIONS:
        return Before.NOTHING if row.state is JobState.LAPSED else Refused(meaning_of(Reason.SESSION_DECIDED))
    if link.expires_at > now:
        allowed_from = rules.allowed_from.get(link.account)
        if allowed_from is None:
            return Refused(f"the account {link.account} is not in the configuration", "correct the configuration")
        if allowed_from(link.expires_at) > now:
            ends = in_utc(link.expires_at)
            why = f"the account {link.account} gives no other link before the present one has ended, {ends}"
            return Refused(why, "`onboard customer resend` sends the present link again")
        return Before.SUPERSEDED
    over = link.expires_at + SETTLES
    if over > now:
        why = "the link has just ended, and the customer's result may still come"
        return Refused(why, f"ask again after {from_utc(over)}")
    asked = asked_since_end(link.asked_at, link.expires_at)
    return Before.ASKED if not asked and link.account in rules.lists else Before.EXPIRED


def opens_until(case: Case, now: datetime) -> datetime | None:
    """Until when the present link opens at an address that was corrected; None: it does not."""
    link = case.link
    return link.expires_at if link is not None and link.is_given_away and link.works(now) else None


def decide_new_address(rules: DeskRules, case: Case, *, now: datetime) -> NewLink | Refused | None:
    """What follows for the link; None: the present one goes to the new address, if it can be sent (`decide_resend`).
    `case`: as it is with the new address."""
    link = case.link
    if link is None or opens_until(case, now) is None:
        return None
    if (refused := not_serviceable(case)) is not None:
        return refused
    has = f"the present link has gone to the old address, and opens there until {in_utc(link.expires_at)}"
    if (paused := in_a_pause(case.row)) is not None:
        return Refused(f"{has}; {paused.why}", paused.then)
    allowed_from = rules.allowed_from.get(link.account)
    given = GivenLink(
        went=True,
        expires_at=link.expires_at,
        allowed_from=link.expires_at if allowed_from is None else allowed_from(link.expires_at),
        cap=spent(rules.contact.caps, reissues=case.sessions - 1, messages=case.messages),
    )
    match after_corrected_address(given, rules.contact.corrected, now=now):
        case AnotherSession():  # as the next check of sessions decides: a message that is under way keeps none back
            return decide_new_link(rules, replace(case, link=link._replace(messages=())), now=now)
        case WaitForEnd():
            return Refused(f"{has}; another one follows its end, if the customer has not finished", SAME_LINK)
        case Spent(cap):
            return Refused(f"{has}, and {meaning_of(cap)}", SAME_LINK)
        case _:
            return None
