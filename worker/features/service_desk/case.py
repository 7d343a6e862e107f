"""A case: all that a decision about one customer and one purpose needs; what a person types to find it, and what comes
next for it. Times are aware. Pure."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from onboarding_worker.core.model.channels import folded_email
from onboarding_worker.core.model.reasons import Reason, meaning_of
from onboarding_worker.core.model.states import InvitationState, JobState, Result
from onboarding_worker.core.rules.contact import FIRST, ContactPolicy
from onboarding_worker.core.rules.reconciliation import OrphanRule
from onboarding_worker.lists import rules
from onboarding_worker.providers.values import Refusal
from onboarding_worker.reporting.store.ledger import JobFacts, MessageFacts, SessionFacts
from onboarding_worker.reporting.waits import Circumstances, Wait, Waiting, cause_of

LONGEST = 320


@dataclass(frozen=True)
class Refused:
    """Why nothing was done, and what the person can do instead: two sentences without personal data. Their commands
    name the customer as ID."""

    why: str
    then: str = ""

    def __str__(self) -> str:
        return f"{self.why}; {self.then}" if self.then else self.why

    def of(self, customer_id: str) -> "Refused":
        return Refused(of_customer(self.why, customer_id), of_customer(self.then, customer_id))


def of_customer(words: str, customer_id: str) -> str:
    """The words, with the customer's id in their commands."""
    return words.replace(" ID ", f" {customer_id} ").replace(" ID`", f" {customer_id}`")


@dataclass(frozen=True, kw_only=True)
class Case:
    """`ways`: for each channel on which the customer has an address, why nothing may be sent there; "" if it may.

    `row`: the one that serves the customer, and `link` its session. `sessions` and `messages` count what the customer
    has had, as the caps do. `stopped`: who stopped everything and why, in words; "" for nothing. `reissued_today`
    counts the account's. `finished`: the result, if the customer has finished. `settled_by`: when it is known at the
    latest what became of the row's call; None: no such time is stored.
    """

    customer_id: str
    row: JobFacts | None = None
    link: SessionFacts | None = None
    erased: bool = False
    stopped: str = ""
    finished: str | None = None
    sessions: int = 0
    messages: int = 0
    reissued_today: int = 0
    settled_by: datetime | None = None
    ways: Mapping[str, str] = field(default_factory=dict)
    zones: tuple[str, ...] = ()

    @property
    def of_link(self) -> Sequence[MessageFacts]:
        """The messages with the present link."""
        return self.link.messages if self.link is not None else ()


@dataclass(frozen=True, kw_only=True)
class DeskRules:
    """The configuration's rules. `contact`: how customers are written to. `channels` have a sender.

    `allowed_from`: by account, from when another session may be opened, by the expiry of the session before. `lists`:
    the accounts whose provider can be asked what became of a session. `link_valid`: messages carry our own link, which
    leads on for so long after each of them; None: they carry the session's link. `orphans`: how long a session with a
    lost token is waited for, by account.
    """

    contact: ContactPolicy
    channels: Collection[str] = ()
    allowed_from: Mapping[str, Callable[[datetime], datetime]] = field(default_factory=dict)
    lists: Collection[str] = ()
    link_valid: timedelta | None = None
    orphans: Mapping[str, OrphanRule] = field(default_factory=dict)


def in_utc(moment: datetime) -> str:
    """A time in a sentence, UTC."""
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def from_utc(moment: datetime) -> str:
    """The same, of a time before which something cannot be: read in its minute, it is not over yet."""
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


ERASED = Refused(
    "the customer was erased, and nothing is stored to write to",
    "a new list brings the customer back (`onboard import --allow-erased`)",
)


def not_serviceable(case: Case) -> Refused | None:
    """Why nothing can be done for the customer, whatever is asked for; None: something may be."""
    row = case.row
    if case.erased:
        return ERASED
    if case.finished is not None:
        how = f" ({case.finished})" if case.finished else ""
        return Refused(f"the customer has finished{how}", "nothing is left to send")
    if row is None:
        return Refused("the customer has no row", "import the customer in a list")
    if row.over_at is not None or row.state is JobState.CANCELLED:
        return Refused(f"{row.place} was cancelled", "import the customer in a new list")
    if row.state is JobState.HELD:
        why = f"{row.place} is held: {meaning_of(row.reason)}"
        return Refused(why, f"decide it first: {_decide(row)} --repeat or --abandon")
    if row.in_doubt:
        by = f", by {in_utc(case.settled_by)} at the latest" if case.settled_by is not None else ""
        if row.reason == Reason.ORPHAN:
            when = f"at {in_utc(row.due_at)}" if row.due_at is not None else "now and then"
            then = f"wait: the worker looks at that session again {when}, and asks for a new one after its end{by}"
            return Refused("the provider has opened a session for the customer whose token was lost", then)
        why = "it is not known yet whether a call for a session was carried out"
        return Refused(why, f"wait: the worker finds it out by itself{by}, and then goes on")
    if case.link is not None and (case.link.result == Result.REVIEW or case.link.in_review_before):
        why = "the customer has submitted, and the provider has not decided yet"
        return Refused(why, "wait for the provider's decision")
    return None


def in_a_pause(row: JobFacts | None) -> Refused | None:
    """Why the row's batch lets nothing leave that no person sends; None: it does."""
    if row is None or not row.is_paused:
        return None
    return Refused(f"batch {row.batch} is paused", f"`onboard resume {row.batch}` lets its messages leave")


def under_way(case: Case, channels: Collection[str], *, to_old_address: bool = False) -> Refused | None:
    """Why a message of the present link must be settled first; None: none is being sent, or in doubt. `to_old_address`:
    the address is to change. One that is in doubt is looked up by the address that it went to."""
    for message in case.of_link:
        if message.channel not in channels:
            continue
        one = f"a message {'to the old address' if to_old_address else f'by {message.channel}'}"
        if message.state is InvitationState.WORKING:
            return Refused(f"{one} is being sent at this moment", "try again in a minute")
        if message.in_doubt and message.state is InvitationState.WAITING:
            why = f"it is not known whether {one} was sent; the worker is finding out"
            return Refused(why, "try again in some minutes")
        # A reminder or a resend holds no row, and who asks for another, or corrects the address, has decided.
        holds = message.state is InvitationState.HELD and message.kind == FIRST and not to_old_address
        if holds and case.row is not None:
            then = f"decide it first: {_decide(case.row)} --repeat or --abandon"
            return Refused(f"it is not known whether {one} was sent", then)
    return None


def _decide(row: JobFacts) -> str:
    return f"`onboard resolve {row.batch} --row {row.row}`"


@dataclass(frozen=True, repr=False)
class Wanted:
    """The ways to read the text; "" where it cannot be read so. Personal, so no repr."""

    customer_id: str
    email: str  # in the form that is hashed
    phones: tuple[str, ...]  # E.164: each number that the text may be


def wanted(text: str, country: str = "") -> Wanted:
    """`country` (alpha-2) applies to a phone number written without a +; without it, the number may be of any."""
    text = text.strip()[:LONGEST]
    email = rules.email(text) if "@" in text else ""
    phones: tuple[str, ...] | Refusal = ()
    if text and not any(map(str.isalpha, text)):
        from onboarding_worker.lists import phone_numbers  # imported here: the number plans of all countries

        is_anywhere = not country and text.isascii() and not text.startswith("+")
        phones = phone_numbers.readings_anywhere(text) if is_anywhere else phone_numbers.readings(text, country)
    return Wanted(
        customer_id=text if len(text) <= 100 else "",
        email=folded_email(email) if isinstance(email, str) and email else "",
        phones=() if isinstance(phones, Refusal) else phones,
    )


def next_step(what: str, one: Waiting, around: Circumstances, *, now: datetime) -> Wait:
    """What comes next: `what`, a sentence without its stop, once nothing is in its way."""
    first, until = cause_of(one, around, now=now), None
    match first.what:
        case "everything":
            text = _nothing_before("everything goes on", first.detail)
        case "batch":
            text = _nothing_before(f"batch {first.name} goes on, which is paused", first.detail)
        case "pilot":
            text = f"Next: nothing before the verdict on the pilot of batch {first.name}: this row is behind it."
        case "" if first.action:
            event = "the list may cost more" if first.reason == Reason.CREDITS_SPENT else "its brand is there again"
            text = _nothing_before(event, meaning_of(first.reason))
        case "":
            text, until = f"Next: {what}{f', {first.turn}' if first.turn else ''}.", first.until or now
        case _ if first.reason == Reason.ACCOUNT_MISSING:
            text = _nothing_before("the account is there again", first.in_words)
        case _ if first.action:
            event = f"{first.called} goes on" + (", or another account takes the row over" if one.place.others else "")
            text = _nothing_before(event, first.in_words)
        case _:
            until = first.until or now
            text = f"{_nothing_before(from_utc(until), first.in_words)} Then {what}."
    return first._replace(detail=text, until=until)


def _nothing_before(event: str, why: str) -> str:
    return f"Next: nothing before {event}: {why}."
