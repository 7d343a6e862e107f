"""What a seed means: the customers, the configuration, and the faults, each with its time. Pure.

A plan is data, so that a fault or a customer can be left out of it and the rest played again.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from onboarding_worker.core.foundation.features import FEATURES
from onboarding_worker.settings.policies import OWN_LINKS
from tests.suite.of_features import of_features
from trials.simulation.faults import KINDS, Fault, SpoilRow, TooMany, WrongCredentials

STORM = 40.0  # seconds with faults; then all works
# What a history's people are served by. `both`: kyc, with a second account that takes over. Few each time: each account
# costs every sweep and claim.
ACCOUNTS = (("kyc",), ("kyc",), ("kyc", "kyb"), ("kyb",), ("au",), ("kyc", "au"), ("both",), ("both", "kyc"))
LIFETIME = 1800.0  # seconds that a link lives
FLOOR = 600.0
MESSAGES = 4
TIMEOUT = 5.0
LEASE = 15.0
CREDITS = 3
# What the customers of a history with stable links do with them. A robot posts the page's form at once.
VISITS = ("once", "once", "twice", "late", "returns", "robot", "not-me")
LINK_VALID = 3600.0  # seconds that our own link leads somewhere
REVIEWS = ("review", "review", "review-deny", "ask")
REVIEW_SECONDS = (20.0, 600.0, 4000.0, 9000.0)
REMINDERS = ((60.0,), (60.0, 400.0), (200.0, 1000.0))
TURNS = (0.0,) * 12 + (0.01, 0.05, 0.2)
# Quiet hours of customers in Vilnius and Riga, where a history begins at 14:00: by the clock there, and in its seconds.
QUIET = {"13:51-14:01": (0.0, 60.0), "14:01-14:11": (60.0, 660.0)}
# What people do meanwhile, of trials.simulation.office, and how often.
OFFICE = (*4 * ("another_list",), "pause", "stop", "resume", "run_again", "cancel", "retry", "repeat", "abandon")
OFFICE += 2 * tuple(dict(of_features("OFFICE")))
# … and with what `check` has to forecast.
PAPERS = (*2 * ("planned_list",), "more_credits", "other_persons", *2 * tuple(dict(of_features("PAPERS"))))
PER_ADDRESS, PER_ADDRESS_SECONDS = 2, 120.0  # messages to one address, where customers share one
AHEAD = 600.0  # seconds before its end that a link is replaced, where it is
DAWDLES = (600.0, 2400.0)  # seconds after a message that some act in: their link is replaced meanwhile
DAY = 86400.0
# A renewal is due a month less so many days after the approval: after three or four days.
BEFORE_MONTH, LEAST_RENEWAL, MOST_RENEWAL = 27, 3 * DAY, 4 * DAY
RENEWED_FOR = 7.5 * DAY  # how long a history with renewals lasts: two of each customer


@dataclass(frozen=True)
class Person:
    """A simulated customer. `asked_at` None: of the list; else an event brings it then."""

    number: int
    account: str
    channel: str = "email"  # email, sms, both
    finishes: bool = True  # else it never opens its link
    asked_at: float | None = None
    event: str = ""  # cancelled, updated or erased, at `event_at`
    event_at: float = 0.0
    hears: str = "webhook"  # how the worker hears of the end: webhook, late, twice, lost
    ends: str = "finish"  # what the provider makes of it, as the sandbox's customers do: finish, or one of REVIEWS
    review: float = 0.0  # seconds until the provider has decided
    visits: str = ""  # what it does with our own link: one of VISITS; "": it has the provider's, or never comes
    mailbox: str = ""  # that it shares with others; "": its own
    ends_again: str = ""  # what the provider makes of it after it was refused
    dawdles: bool = False  # it acts long after its message
    adopted: bool = False  # another tool has opened its session and sent the link

    @property
    def id(self) -> str:
        return f"c{self.number:03}"

    @property
    def email(self) -> str:
        return f"{self.mailbox}+{self.id}@example.org" if self.mailbox else f"{self.id}@example.org"

    @property
    def phone(self) -> str:
        return f"+37060000{self.number:03}"


@dataclass(frozen=True)
class Act:
    at: float
    what: str


@dataclass(frozen=True)
class Plan:
    seed: int
    people: tuple[Person, ...]
    hosts: int
    rate: int  # calls a second of each account and sender; 0: no limit
    capped: bool  # whether kyc has a cap of credits
    daily: bool = False  # … of each day
    hourly: int = 0  # calls an hour of each account, a tenth of them ahead; 0: no such limit
    operator: str = ""  # pause, cancel: what an operator does to the list
    operator_at: float = 0.0
    stopped_at: float = 0.0  # when an operator stops everything; 0: never
    pilot: int = 0  # how many of the list's rows go first; 0: the list has no pilot
    stable: str = ""  # ahead, on-click: messages have our own links; "": the providers'
    concurrency: int = 4  # calls of each account in flight
    stalls: float = 0.0  # the longest that opening a connection takes, where each call opens one; 0: few do
    reissues: int = 1
    reminders: tuple[float, ...] = ()  # seconds after the first message
    quiet: str = ""  # quiet hours, one of QUIET
    shared: bool = False  # whether the customers share a mailbox
    turn: float = 0.0  # seconds that each turn of a process's loop takes: other work keeps its processor busy
    ahead: float = 0.0  # seconds before its end that a link is replaced; 0: after it
    tries_again: bool = False  # who is refused is asked once more
    renews_for: float = 0.0  # seconds in which approvals are renewed; 0: they are not
    acts: tuple[Act, ...] = ()  # of the office: several lists want the same people
    faults: tuple[Fault, ...] = field(default=())

    @property
    def quiet_seconds(self) -> tuple[float, float]:
        return QUIET.get(self.quiet, (0.0, 0.0))

    @property
    def asks_about_reviews(self) -> bool:
        """Whether it lasts until providers were asked about reviews. Rows at a cap would wait all that time."""
        return not self.capped and any(person.review for person in self.people)


def plan_of(seed: int) -> Plan:
    chance = random.Random(f"{seed}/plan")
    hosts = chance.choice((1, 2, 2, 3))
    accounts = chance.choice(ACCOUNTS)
    # Half of the histories are short: everybody finishes. In the others some links expire and are reissued.
    finish = chance.choice((1.0, 0.7))
    people = tuple(_person(chance, number, accounts, finish) for number in range(chance.randint(3, 8)))
    # Few kinds in a history, and some of them again and again: what goes wrong together is found so.
    kinds = chance.sample(list(KINDS.values()), 3)
    count = chance.choice((0, 1, 2, 3, 4, 5, 6, 7))
    # Most work is done within a second of its request, and most faults strike then.
    begins = [person.asked_at or 0.0 for person in people]
    faults = sorted((_fault(chance, kinds, hosts, begins) for _ in range(count)), key=lambda fault: fault.at)
    planned = Plan(
        seed,
        people,
        hosts,
        rate=chance.choice((0, 0, 2, 2, 5)),
        capped=chance.random() < 0.1,
        operator=chance.choice(("",) * 8 + ("pause", "cancel")),
        operator_at=chance.uniform(0, STORM),
        faults=tuple(faults),
    )
    # Drawn last, so that the rest of a seed's plan stays as it is.
    stopped_at = chance.uniform(0.2, STORM) if chance.random() < 0.1 else 0.0
    has_pilot = chance.random() < 0.1 and not planned.operator
    planned = replace(planned, stopped_at=stopped_at, pilot=chance.choice((1, 2)) if has_pilot else 0)
    planned = _with_stable_links(chance, planned) if chance.random() < 0.3 and OWN_LINKS.offered() else planned
    planned = _with_environment(random.Random(f"{seed}/environment"), planned)
    planned = _with_reviews(random.Random(f"{seed}/reviews"), planned)
    reminders = random.Random(f"{seed}/reminders")
    planned = replace(planned, reminders=reminders.choice(REMINDERS) if reminders.random() < 0.25 else ())
    planned = replace(planned, turn=random.Random(f"{seed}/busy").choice(TURNS))
    planned = _with_office(random.Random(f"{seed}/operators"), planned)
    planned = _with_hourly_limit(random.Random(f"{seed}/hourly"), planned)
    planned = _with_papers(random.Random(f"{seed}/desk"), planned)
    return _with_what_follows(random.Random(f"{seed}/follows"), planned)


def _with_what_follows(chance: random.Random, plan: Plan) -> Plan:
    """In some of the histories links are replaced before their end, the refused are asked once more, approvals are
    renewed, and another tool had opened sessions before."""
    special = plan.acts or plan.stable or plan.shared or plan.pilot or plan.hourly or plan.operator
    if special or chance.random() >= 0.3:
        return plan
    ahead, tries, renews, adopts = (chance.random() < 0.5 for _ in range(4))
    return follows(chance, plan, ahead=ahead, tries=tries, renews=renews and not plan.capped, adopts=adopts)


def month_of(seed: int) -> Plan:
    """The customers of a seed for a month, with all of these, and with its faults at the beginning."""
    plan = plan_of(seed)
    people = tuple(replace(one, visits="", mailbox="") for one in plan.people)
    chance = random.Random(f"{seed}/month")
    plan = replace(plan, people=people, acts=(), stable="", shared=False, pilot=0, hourly=0, operator="", capped=False)
    return follows(chance, plan, ahead=True, tries=True, renews=True, adopts=True, days=31.2)


def follows(
    chance: random.Random, plan: Plan, *, ahead: bool, tries: bool, renews: bool, adopts: bool, days: float = 0.0
) -> Plan:
    """The plan with these. `days`: how long approvals are renewed; 0: long enough for two renewals."""
    people = list(plan.people)
    for index, person in enumerate(people):
        if ahead and chance.random() < 0.5:
            person = replace(person, account="kyb", dawdles=chance.random() < 0.5)
        if tries and person.account == "kyc" and person.finishes and chance.random() < 0.7:
            person = replace(person, ends="deny", ends_again=chance.choice(("finish", "finish", "deny")), review=0.0)
        if adopts and person.account == "kyc" and chance.random() < 0.6:
            person = replace(person, adopted=True, asked_at=None)
        people[index] = person
    for_long = days * DAY or RENEWED_FOR
    return replace(
        plan,
        people=tuple(people),
        reissues=max(plan.reissues, 2) if ahead or tries else plan.reissues,
        ahead=AHEAD if ahead else 0.0,
        tries_again=tries,
        renews_for=for_long if renews and "renew" in FEATURES.here else 0.0,
    )


def _with_hourly_limit(chance: random.Random, plan: Plan) -> Plan:
    """In a few histories more people want sessions than an account may open in an hour."""
    if chance.random() >= 0.03 or plan.capped or plan.acts or plan.shared or plan.stable or plan.pilot:
        return plan
    hourly, account = 10, plan.people[0].account
    numbers = range(len(plan.people), len(plan.people) + chance.randint(6, 10))
    more = (_person(chance, number, (account,), finish=1.0) for number in numbers)
    return replace(plan, hourly=hourly, people=(*plan.people, *more))


def _with_office(chance: random.Random, plan: Plan) -> Plan:
    """In some of the histories, people do more than import one list."""
    if chance.random() >= 0.18 or plan.pilot or plan.operator or plan.shared:
        return plan
    times = sorted(
        chance.uniform(0.5, chance.choice((STORM, STORM, 2 * LIFETIME))) for _ in range(chance.randint(3, 9))
    )
    acts = [Act(at, chance.choice(OFFICE)) for at in times]
    return _acting(plan, acts)


def _with_papers(chance: random.Random, plan: Plan) -> Plan:
    """In some of the others, lists come of which `check` says more, a report comes back, and people are erased."""
    if chance.random() >= 0.2 or plan.acts or plan.pilot or plan.operator or plan.shared or plan.hourly:
        return plan
    times = sorted(chance.uniform(1, chance.choice((10, STORM, 2 * LIFETIME))) for _ in range(chance.randint(2, 4)))
    faults = plan.faults if chance.random() < 0.5 else ()  # without them what is forecast is so to the number
    return _acting(replace(plan, faults=faults, daily=plan.capped), [Act(at, chance.choice(PAPERS)) for at in times])


def _acting(plan: Plan, acts: Sequence[Act]) -> Plan:
    # An import, too, ends at a row that no release can read.
    faults = tuple(fault for fault in plan.faults if not isinstance(fault, SpoilRow))
    return replace(plan, faults=faults, acts=(*acts, Act(max(acts[-1].at, 3 * STORM) + 60, "all_go_on")))


def _with_environment(chance: random.Random, plan: Plan) -> Plan:
    """The plan in a narrow or slow place, in quiet hours, or with a mailbox that the customers share."""
    if chance.random() < 0.3:
        plan = replace(plan, concurrency=chance.choice((1, 2, 4)), stalls=chance.choice((0.0, 1.5, 4.0)))
    if plan.stopped_at and chance.random() < 0.5:  # while calls wait for their connections
        begin = chance.choice([one.asked_at or 0.0 for one in plan.people])
        plan = replace(plan, stopped_at=begin + 0.3 + chance.random(), stalls=4.0)
    elif plan.stalls:
        # While calls wait for their connections, the account refuses another one.
        kind = chance.choice((TooMany, WrongCredentials))
        refusal = kind(at=chance.uniform(2, STORM / 4), host=0, size=chance.random())
        plan = replace(plan, faults=(*plan.faults, refusal))
    special = chance.random()
    if special < 0.1:
        quiet = chance.choice(list(QUIET))
        begins, _ = QUIET[quiet]
        if begins:  # events come just before, and their messages wait for connections meanwhile
            people = [replace(one, asked_at=one.asked_at and begins - 7 * chance.random()) for one in plan.people]
            plan = replace(plan, people=tuple(people), stalls=4.0)
        plan = replace(plan, quiet=quiet)
    elif special < 0.15:
        plan = replace(plan, people=tuple(replace(one, mailbox="shared") for one in plan.people), shared=True)
    elif special > 0.95:  # all are asked for at once, and the account refuses one while others wait for connections
        people = [replace(one, account=plan.people[0].account, asked_at=None) for one in plan.people]
        refusal = TooMany(at=chance.uniform(3, 6), host=0, size=chance.uniform(0.5, 1))
        faults = (*plan.faults, refusal)
        plan = replace(plan, people=tuple(people), rate=0, concurrency=4, stalls=4.0, faults=faults)
    return plan


def _with_stable_links(chance: random.Random, plan: Plan) -> Plan:
    people = tuple(
        replace(person, visits=chance.choice(VISITS)) if person.finishes else person for person in plan.people
    )
    return replace(plan, people=people, stable=chance.choice(("ahead", "on-click", "on-click")))


def _with_reviews(chance: random.Random, plan: Plan) -> Plan:
    """In a quarter of the histories, the provider looks at half of those who finish before it decides."""
    if chance.random() >= 0.25:
        return plan
    people = [
        replace(
            person,
            hears=chance.choice(("webhook", "late", "late", "twice", "lost")),
            ends=chance.choice(REVIEWS),
            review=chance.choice(REVIEW_SECONDS),
        )
        if person.finishes and chance.random() < 0.5
        else person
        for person in plan.people
    ]
    return replace(plan, people=tuple(people), reissues=2)


def _person(chance: random.Random, number: int, accounts: tuple[str, ...], finish: float) -> Person:
    return Person(
        number,
        chance.choice(accounts),
        chance.choice(("email", "email", "sms", "both")),
        finishes=chance.random() < finish,
        asked_at=None if chance.random() < 0.6 else chance.uniform(0, STORM / 2),
        event=chance.choice(("",) * 12 + ("cancelled", "updated", "erased")),
        event_at=chance.uniform(0.5, STORM * 2),
        hears=chance.choice(("webhook", "webhook", "late", "twice", "lost")),
    )


def _fault(chance: random.Random, kinds: Sequence[type[Fault]], hosts: int, begins: Sequence[float]) -> Fault:
    at = chance.choice(begins) + chance.choice((0.3, 0.3, 3.0, STORM / 2)) * chance.random()
    return chance.choice(kinds)(at=at, host=chance.randrange(hosts), size=chance.random())
