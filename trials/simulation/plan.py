"""What a seed means: the customers, the configuration, and the faults, each with its time. Pure.

A plan is data, so that a fault or a customer can be left out of it and the rest played again.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from trials.simulation.faults import KINDS, Fault

STORM = 40.0  # seconds with faults; then all works
# What a history's people are served by. `both`: kyc, with a second account that takes over. Few each time: each account
# costs every sweep and claim.
ACCOUNTS = (("kyc",), ("kyc",), ("kyc", "kyb"), ("kyb",), ("au",), ("kyc", "au"), ("both",), ("both", "kyc"))
LIFETIME = 1800.0  # seconds that a link lives
FLOOR = 600.0
REISSUES = 1
MESSAGES = 4
TIMEOUT = 5.0
LEASE = 15.0
CREDITS = 12
# What the customers of a history with stable links do with them. A robot posts the page's form at once.
VISITS = ("once", "once", "twice", "late", "returns", "robot", "not-me")
LINK_VALID = 3600.0  # seconds that our own link leads somewhere


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
    visits: str = ""  # what it does with our own link: one of VISITS; "": it has the provider's, or never comes

    @property
    def id(self) -> str:
        return f"c{self.number:03}"

    @property
    def email(self) -> str:
        return f"{self.id}@example.org"

    @property
    def phone(self) -> str:
        return f"+37060000{self.number:03}"


@dataclass(frozen=True)
class Plan:
    seed: int
    people: tuple[Person, ...]
    hosts: int
    rate: int  # calls a second of each account and sender; 0: no limit
    capped: bool  # whether kyc has a cap of credits
    operator: str = ""  # pause, cancel: what an operator does to the list
    operator_at: float = 0.0
    stopped_at: float = 0.0  # when an operator stops everything; 0: never
    pilot: int = 0  # how many of the list's rows go first; 0: the list has no pilot
    stable: str = ""  # ahead, on-click: messages have our own links; "": the providers'
    moved_at: float = 0.0  # when an operator moves unopened links from kyc to lt; 0: never
    faults: tuple[Fault, ...] = field(default=())


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
    return _with_stable_links(chance, planned) if chance.random() < 0.3 else planned


def _with_stable_links(chance: random.Random, plan: Plan) -> Plan:
    people = tuple(
        replace(person, visits=chance.choice(VISITS)) if person.finishes else person for person in plan.people
    )
    moves = chance.random() < 0.5 and any(person.account in ("kyc", "both") for person in people)
    return replace(
        plan,
        people=people,
        stable=chance.choice(("ahead", "on-click", "on-click")),
        moved_at=chance.uniform(1, STORM * 3) if moves else 0.0,
    )


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
