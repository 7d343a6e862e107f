"""The worker's decisions, made one after another for one customer, must give the same story as the model.

No part of the engine is used: no rows, no leases. The tests check only that the decisions fit together.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.trials.month.model import (
    AFTER_A_REMINDER,
    DAY,
    HOUR,
    IN_REVIEW,
    MINUTE,
    OF_EACH_LINK,
    UNTIL_BOUNCE,
    UNTIL_STOP,
    Behaviour,
    Customer,
    Endpoint,
    Rules,
    done_at,
    population,
    story_of,
)
from worker.domain.contact.caps import Caps, may_send
from worker.domain.contact.contact_times import issue_at, message_at
from worker.domain.contact.quiet_hours import QuietHours
from worker.domain.contact.reminders import Invited, Reminder, next_reminder
from worker.domain.contact.time_zones import candidate_zones
from worker.domain.model.states import InvitationState, JobState, SessionState
from worker.domain.verification.reissue import Lapsed, Reissue, ReissueRule, SessionFacts, Wait, decide

START = datetime(2026, 11, 20, 12, tzinfo=UTC)
UNTIL = START + 30 * DAY
LATENCY = timedelta(seconds=7)  # between the due time and the act
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass
class Life:
    """One customer's month, made by the decisions."""

    customer: Customer
    rules: Rules
    early: bool  # the provider gives another session at any time
    now: datetime = START
    counts: Counter[str] = field(default_factory=Counter)
    job: JobState = JobState.WAITING
    why: str = ""

    def __post_init__(self) -> None:
        rules, endpoint = self.rules, self.customer.endpoint
        hours = rules.quiet
        self.quiet = {"email": QuietHours(time(hours[0]), time(hours[1]))} if hours else {}
        self.zones = candidate_zones(timezone=self.customer.timezone, phone="", country="", default="UTC")
        self.caps = Caps(rules.reissues, rules.messages)
        max_age = endpoint.lifetime - endpoint.floor
        self.rule = ReissueRule(self.caps, rules.spacing, None, max_age)

    @property
    def messages(self) -> int:
        return self.counts["invitations"] + self.counts["reminders"]

    def live(self) -> None:
        due = issue_at(["email"], self.zones, self.quiet, max_age=self.rule.max_age, now=START)
        first = None
        while due is not None and due + LATENCY < UNTIL:
            self.now = max(self.now, due) + LATENCY
            issued_at = self.now
            self.counts["sessions"] += 1
            due_message = message_at("email", self.zones, self.quiet, invite_at=None, now=self.now)
            assert due_message == self.now  # the session was issued late enough
            self.counts["invitations"] += 1
            self.job = JobState.INVITED
            first = first or self.now
            due = self.session(issued_at, first)

    def session(self, issued_at: datetime, first: datetime) -> datetime | None:
        """Go through a session's life. Returns the due time of the next session; None if there is none."""
        customer, state, made, in_review = self.customer, SessionState.WAITING, set(), False
        expires = issued_at + customer.endpoint.lifetime
        sent_at = self.now
        done = done_at(customer, sent_at, expires, self.counts["sessions"])
        bounced = customer.behaviour is Behaviour.BOUNCES and self.counts["sessions"] == 1
        decided = None
        while True:
            stopped = customer.behaviour is Behaviour.STOPS and self.now >= first + UNTIL_STOP
            may_get_one = not stopped and may_send(self.caps, self.messages)
            reminder = next_reminder(
                self.rules.reminders,
                Invited(
                    job=self.job,
                    session=state,
                    invitation=InvitationState.SENT,
                    invited_at=sent_at,
                    expires_at=expires,
                    floor=customer.endpoint.floor,
                    made=made,
                    in_review=in_review,
                ),
                self.zones,
                self.quiet.get("email"),
                self.now,
            )
            decision = decide(
                self.rule,
                SessionFacts(
                    job=self.job,
                    session=state,
                    issued_at=issued_at,
                    expires_at=expires,
                    allowed_from=LONG_AGO if self.early else expires,
                    channels=() if stopped else ("email",),
                    reissues=self.counts["sessions"] - 1,
                    messages=self.messages,
                    in_review=in_review,
                ),
                self.zones,
                self.quiet,
                self.now,
            )
            if isinstance(decision, Reissue):
                return decision.due_at
            if isinstance(decision, Lapsed):
                self.job, self.why = JobState.LAPSED, decision.reason
                return None
            assert isinstance(decision, Wait)
            coming = {
                "bounce": sent_at + UNTIL_BOUNCE if bounced else None,
                "stop": first + UNTIL_STOP if customer.behaviour is Behaviour.STOPS and not stopped else None,
                "done": done if not in_review else None,
                "decided": decided,
                "reported": expires if customer.endpoint.reports_expiry and state is SessionState.WAITING else None,
                "reminder": reminder.due_at if isinstance(reminder, Reminder) and may_get_one else None,
                "look": decision.until,
            }
            at, what = min((at, what) for what, at in coming.items() if at is not None)
            if at + LATENCY >= UNTIL:
                return None
            self.now = max(self.now, at) + (LATENCY if what in ("reminder", "look") else timedelta(0))
            match what:
                case "bounce":
                    self.job, self.why = JobState.FAILED, "bounced"
                    return None
                case "done" if customer.behaviour is Behaviour.REVIEWED:
                    state, in_review, decided = SessionState.STARTED, True, done + IN_REVIEW
                case "done" | "decided":
                    self.job = JobState.COMPLETED
                    self.why = "denied" if customer.behaviour is Behaviour.DENIED else "approved"
                    return None
                case "reported":
                    state = SessionState.EXPIRED
                case "reminder":
                    self.counts["reminders"] += 1
                    made.add(reminder.kind)
                    if customer.behaviour is Behaviour.AFTER_REMINDER and done is None:
                        done = self.now + AFTER_A_REMINDER


def compare(customer, rules, early, story):
    life = Life(customer, rules, early)
    life.live()
    lived = (life.counts["sessions"], life.counts["invitations"], life.counts["reminders"])
    assert lived == (len(story.sessions), len(story.invitations), len(story.reminders))
    ended = (str(life.job), str(life.why)) if life.job in (JobState.COMPLETED, JobState.LAPSED, JobState.FAILED) else ()
    assert ended == ((story.ending, story.why) if story.ending != "open" else ())


def test_hundreds_of_customers_have_the_months_of_the_model():
    for customer in population(450):  # five endpoints, nine behaviours, ten clocks
        story = story_of(customer, Rules(), start=START, until=UNTIL)
        compare(customer, Rules(), customer.endpoint.name in ("idenfy-kyb", "frankieone-v1"), story)


endpoints = st.builds(
    Endpoint,
    st.just("any"),
    st.integers(2, 300).map(lambda count: count * HOUR + 17 * MINUTE),
    st.sampled_from([10 * MINUTE, HOUR, 12 * HOUR]),
    reports_expiry=st.booleans(),
).filter(lambda endpoint: endpoint.floor < endpoint.lifetime)
customers = st.builds(Customer, st.just(1), endpoints, st.sampled_from(OF_EACH_LINK), ahead=st.integers(-11, 12))
reminders = st.lists(st.integers(2, 200).map(lambda count: count * HOUR - 23 * MINUTE), max_size=4, unique=True)
rules = st.builds(
    Rules,
    reminders=reminders.map(lambda spans: tuple(sorted(spans))),
    reissues=st.integers(0, 4),
    messages=st.integers(1, 9),
    spacing=st.sampled_from([timedelta(0), DAY, 5 * DAY]),
    quiet=st.sampled_from([None, (21, 8), (1, 5), (8, 22)]),
)


@settings(max_examples=200)
@given(customers, rules, st.booleans())
def test_for_all_rules_and_customers_the_decisions_give_the_models_story(customer, rules, early):
    story = story_of(customer, rules, start=START, until=UNTIL)
    assume(story.margin > 2 * MINUTE)  # else seconds decide
    compare(customer, rules, early, story)
