"""A small model of a month of invitations, reminders and reissues. The engine's month must have the same counts.

The model is written from the documentation (docs/reference/reissue.md, docs/reference/quiet-hours.md), without code of
the worker. It goes through the customers' stories one after another, without rows, leases, queues or timers. The engine
works all customers at once, with all of these.

The model knows times to the second; the engine only acts in steps. So a story has the margin of its narrowest
comparison: an engine with shorter steps than that must agree.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
# The customers' reaction times, for the engine's customers too.
AFTER_A_REMINDER = 10 * MINUTE
UNTIL_STOP = 2 * HOUR
UNTIL_BOUNCE = 30 * MINUTE
IN_REVIEW = 21 * DAY


class Behaviour(StrEnum):
    AT_ONCE = "at_once"  # finishes an hour after the first message
    DENIED = "denied"  # the same, and is refused
    AFTER_REMINDER = "after_reminder"  # finishes ten minutes after its first reminder
    SECOND_LINK = "second_link"  # lets the first session end, and finishes an hour after the second one's message
    LAST_DAY = "last_day"  # finishes when a tenth of the first link's life is left
    REVIEWED = "reviewed"  # does its part an hour after the first message; the provider decides three weeks later
    NEVER = "never"
    STOPS = "stops"  # opts out two hours after the first message
    BOUNCES = "bounces"  # its first message bounces after half an hour
    # Only of customers who have our own link (stable_model.py).
    TWICE = "twice"  # comes and goes, and comes again an hour after the session's end; asks three times at each visit
    SPENDS = "spends"  # lets each session end, and comes again an hour later
    NOT_ME = "not_me"  # says an hour after the first message that it is for another person


OF_OUR_LINK = (Behaviour.TWICE, Behaviour.SPENDS, Behaviour.NOT_ME)
OF_EACH_LINK = tuple(one for one in Behaviour if one not in OF_OUR_LINK)


@dataclass(frozen=True)
class Endpoint:
    """`reports_expiry`: the provider sends an event when a session has ended unused."""

    name: str
    lifetime: timedelta
    floor: timedelta
    reports_expiry: bool = False


ENDPOINTS = (
    Endpoint("idenfy-kyc", 7 * DAY, 12 * HOUR, reports_expiry=True),
    Endpoint("idenfy-kyc-openapi", 9 * DAY, 12 * HOUR, reports_expiry=True),
    Endpoint("idenfy-kyb", 4 * DAY, 12 * HOUR),
    Endpoint("frankieone-v1", 2 * DAY + 7 * HOUR, 10 * MINUTE),
    Endpoint("frankieone-v2", 27 * HOUR, 10 * MINUTE),
)


@dataclass(frozen=True)
class Rules:
    """`quiet`: the first and the last hour of the night by the customer's clock; None: no quiet hours. `valid`: how
    long our own link leads on after a message with it."""

    reminders: tuple[timedelta, ...] = (2 * DAY, 5 * DAY)
    reissues: int = 3
    spacing: timedelta = DAY
    messages: int = 6
    settles: timedelta = 15 * MINUTE
    quiet: tuple[int, int] | None = (21, 8)
    valid: timedelta = 12 * DAY


@dataclass(frozen=True)
class Customer:
    """`ahead`: the hours by which its clock is ahead of UTC, all the year. `phone`: it can be texted after a bounce."""

    number: int
    endpoint: Endpoint
    behaviour: Behaviour
    ahead: int = 0
    phone: bool = False

    @property
    def timezone(self) -> str:
        """The name of its time zone. In the Etc zones a plus means west."""
        return f"Etc/GMT{-self.ahead:+d}" if self.ahead else "Etc/GMT"


@dataclass
class Story:
    """One customer's month. The times are those of its sessions and messages."""

    sessions: list[datetime] = field(default_factory=list)
    invitations: list[datetime] = field(default_factory=list)
    reminders: list[datetime] = field(default_factory=list)
    ending: str = "open"  # completed, lapsed, failed, held; open: no ending by the end of the month
    why: str = ""  # the result if completed, else the reason
    margin: timedelta = timedelta.max  # of the narrowest comparison

    @property
    def messages(self) -> int:
        return len(self.invitations) + len(self.reminders)

    def before(self, one: datetime, other: datetime) -> bool:
        self.margin = min(self.margin, abs(other - one))
        return one < other

    def end(self, ending: str, why: str) -> "Story":
        self.ending, self.why = ending, why
        return self


def story_of(customer: Customer, rules: Rules, *, start: datetime, until: datetime, fallback: bool = False) -> Story:
    """One customer's story, from the import to the end of the month."""
    story = Story()
    asked = start
    while True:
        issued = awake(customer, rules, asked, story)
        if not story.before(issued, until):
            return story
        story.sessions.append(issued)
        story.invitations.append(issued)
        expires = issued + customer.endpoint.lifetime
        sent_to = issued  # the time of the message that reached the customer: reminders are counted from it
        if customer.behaviour is Behaviour.BOUNCES and len(story.sessions) == 1:
            returned = issued + UNTIL_BOUNCE
            if not story.before(returned, until):
                return story
            if not (fallback and customer.phone):
                return story.end("failed", "bounced")
            sent_to = awake(customer, rules, returned, story)
            if not story.before(sent_to, until):
                return story
            story.invitations.append(sent_to)
        done = done_at(customer, sent_to, expires, len(story.sessions))
        done = _remind(customer, rules, story, sent_to, expires, done, until)
        if done is not None:
            return _finish(customer, story, done, until)
        over = expires if customer.endpoint.reports_expiry else expires + rules.settles
        if not story.before(over, until):
            return story
        if len(story.sessions) > rules.reissues:
            return story.end("lapsed", "reissues_spent")
        if story.messages >= rules.messages:
            return story.end("lapsed", "messages_spent")
        if customer.behaviour is Behaviour.STOPS:
            return story.end("lapsed", "suppressed")
        asked = max(over, issued + rules.spacing)


def done_at(customer: Customer, sent: datetime, expires: datetime, session: int) -> datetime | None:
    """The time at which the customer does its part with this session; None: not without a reminder."""
    match customer.behaviour:
        case Behaviour.AT_ONCE | Behaviour.DENIED | Behaviour.REVIEWED | Behaviour.BOUNCES:
            return sent + HOUR
        case Behaviour.SECOND_LINK if session == 2:
            return sent + HOUR
        case Behaviour.LAST_DAY:
            return expires - customer.endpoint.lifetime / 10
        case _:
            return None


def _remind(
    customer: Customer,
    rules: Rules,
    story: Story,
    sent: datetime,
    expires: datetime,
    done: datetime | None,
    until: datetime,
) -> datetime | None:
    """Add the session's reminders. Returns the time at which the reminded customer does its part."""
    times = [sent + span for span in rules.reminders]
    for index, time in enumerate(times):
        due = awake(customer, rules, time, story)
        if index + 1 < len(times) and not story.before(due, times[index + 1]):
            continue  # the next one is due too: one reminder is enough
        stopped = customer.behaviour is Behaviour.STOPS and story.before(story.invitations[0] + UNTIL_STOP, due)
        finished = done is not None and story.before(done, due)
        too_late = story.before(expires, due + customer.endpoint.floor)
        if stopped or finished or too_late or story.messages >= rules.messages or not story.before(due, until):
            break
        story.reminders.append(due)
        if customer.behaviour is Behaviour.AFTER_REMINDER and done is None:
            done = due + AFTER_A_REMINDER
    return done


def _finish(customer: Customer, story: Story, done: datetime, until: datetime) -> Story:
    if customer.behaviour is Behaviour.REVIEWED:
        done += IN_REVIEW  # no reminder and no new session during the review, though the link expires
    if not story.before(done, until):
        return story
    return story.end("completed", "denied" if customer.behaviour is Behaviour.DENIED else "approved")


def awake(customer: Customer, rules: Rules, moment: datetime, story: Story) -> datetime:
    """The moment, or the end of the customer's night if it lies in it."""
    if rules.quiet is None:
        return moment
    begins, ends = (timedelta(hours=hour) for hour in rules.quiet)
    wall = moment + timedelta(hours=customer.ahead)
    midnight = wall.replace(hour=0, minute=0, second=0, microsecond=0)
    for day in (midnight - DAY, midnight):
        night = (day + begins, day + ends + (DAY if ends < begins else timedelta(0)))
        if night[0] <= wall < night[1]:
            return night[1] - timedelta(hours=customer.ahead)
    # A message a little after the night's end leaves a little later; a message after its begin waits until morning.
    tonight = midnight + begins if wall < midnight + begins else midnight + DAY + begins
    story.before(wall, tonight)
    return moment


@dataclass(frozen=True)
class Totals:
    """The month's totals: `sessions` by endpoint, `endings` by (ending, why), and the narrowest `margin`."""

    sessions: Counter[str]
    invitations: int
    reminders: int
    endings: Counter[tuple[str, str]]
    margin: timedelta


def totals(stories: Iterable[tuple[Customer, Story]]) -> Totals:
    """Counts over all customers' stories."""
    sessions: Counter[str] = Counter()
    endings: Counter[tuple[str, str]] = Counter()
    invitations = reminders = 0
    margin = timedelta.max
    for customer, story in stories:
        sessions[customer.endpoint.name] += len(story.sessions)
        endings[story.ending, story.why] += 1
        invitations += len(story.invitations)
        reminders += len(story.reminders)
        margin = min(margin, story.margin)
    return Totals(sessions, invitations, reminders, endings, margin)


def population(count: int, behaviours: Sequence[Behaviour] = OF_EACH_LINK) -> Iterator[Customer]:
    """`count` customers: every behaviour at every endpoint, on clocks all around the world; half have a phone."""
    for number in range(count):
        endpoint = ENDPOINTS[number % len(ENDPOINTS)]
        behaviour = behaviours[number // len(ENDPOINTS) % len(behaviours)]
        ahead = number // 7 % 24 - 11
        yield Customer(number, endpoint, behaviour, ahead, phone=number % 2 == 0)
