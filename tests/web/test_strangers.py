"""The line before a door: who gets the next place, whatever strangers do."""

from collections import Counter
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from onboarding_worker.web.middlewares import UNKNOWN, peer_of
from onboarding_worker.web.strangers import (
    FORGET_SECONDS,
    FREE,
    MOST_KNOWN,
    MOST_WAITING,
    OF_BROWSER,
    OFTEN,
    PACE_SECONDS,
    Line,
    Standing,
    Who,
    network_of,
)

NETWORKS = ["192.0.2.0/24", "198.51.100.0/24", "2001:db8::/48"]
who_ever = st.builds(
    lambda network, machine, target, browser: Who(f"{network} {machine}", network, target, browser),
    st.sampled_from(NETWORKS),
    st.integers(0, 3),
    st.sampled_from(["", "rita", "ona"]),
    st.sampled_from(["", "", "", "rita's browser"]),
)


class LineOfStrangers(RuleBasedStateMachine):
    """Any strangers come, get places, are refused and leave, in any order; what must hold all the time."""

    places = 8

    def __init__(self):
        super().__init__()
        self.now, self.standing = 0.0, Standing()
        self.line = Line(self.places, self.standing)
        self.waiting: dict[int, Who] = {}
        self.held: dict[int, tuple[Who, int]] = {}  # with the rank that each had
        self.guessed: dict[str, float] = {}

    @rule(who=who_ever)
    def comes(self, who):
        ticket, gone = self.line.come(who, self.now)
        self.waiting[ticket] = who
        for one in gone:
            del self.waiting[one]

    @rule()
    def are_called(self):
        ranks = {ticket: self.standing.rank(who, self.now) for ticket, who in self.waiting.items()}
        for ticket in self.line.call(self.now):
            who = self.waiting.pop(ticket)
            free = [one for one, other in self.waiting.items() if ranks[one] < ranks[ticket] and self.may(other)]
            assert not free, "one who was refused less waits behind"
            if (
                ranks[ticket] >= OFTEN
                and self.standing.may_from(who, ranks[ticket], self.now - PACE_SECONDS) > self.now
            ):
                raise AssertionError("the target is closed")
            self.held[ticket] = who, ranks[ticket]
        assert not any(self.may(who) for who in self.waiting.values()), "a place is free, and one who may have it waits"

    @precondition(lambda self: self.held)
    @rule(data=st.data(), refused=st.booleans())
    def gives_its_place_back(self, data, refused):
        ticket = data.draw(st.sampled_from(sorted(self.held)))
        who, _ = self.held.pop(ticket)
        assert self.line.leave(ticket)
        if refused:
            self.standing.refused(who, self.now)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def hangs_up(self, data):
        ticket = data.draw(st.sampled_from(sorted(self.waiting)))
        del self.waiting[ticket]
        assert not self.line.leave(ticket)

    @rule(seconds=st.sampled_from([0.1, PACE_SECONDS, FORGET_SECONDS + 1]))
    def time_passes(self, seconds):
        self.now += seconds

    def may(self, who):
        """Whether one of these may have a place now, by the bounds alone."""
        rank, groups = self.standing.rank(who, self.now), who.groups
        held = Counter(one for other, _ in self.held.values() for one in enumerate(other.groups))
        refused = sum(rank > 0 for _, rank in self.held.values())
        is_room = held[0, groups[0]] < 2 and held[1, groups[1]] < 4 and len(self.held) < self.places
        return is_room and (rank <= 0 or (refused < 4 and self.standing.may_from(who, rank, self.now) <= self.now))

    @invariant()
    def no_bound_is_passed(self):
        assert len(self.held) <= self.places
        assert sum(rank > 0 for _, rank in self.held.values()) <= self.places // 2
        for group, most in ((0, self.places // 4), (1, self.places // 2)):
            assert all(count <= most for count in Counter(who.groups[group] for who, _ in self.held.values()).values())

    def teardown(self):
        """Who has left leaves nothing: a stranger who comes now is called at once."""
        for ticket in [*self.waiting, *self.held]:
            self.line.leave(ticket)
        self.now += PACE_SECONDS
        ticket, _ = self.line.come(Who("203.0.113.1", "203.0.113.0/24", "rita"), self.now)
        assert self.line.call(self.now) == [ticket]


TestLineOfStrangers = LineOfStrangers.TestCase


def person(number=1, **more) -> Who:
    return Who(f"198.51.100.{number}", "198.51.100.0/24", **more)


def far(number, **more) -> Who:
    return Who(f"100.{number}.7.7", f"100.{number}.7.0/24", **more)


def near(number, **more) -> Who:
    return Who(f"2001:db8:7:{number:x}::/64", "2001:db8:7::/48", **more)


def turns_until(line: Line, standing: Standing, ticket: int, now: float, *, seconds: float = 0.0) -> int:
    """How many are called, and refused, before this one."""
    for turn in range(10_000):
        called = line.call(now)
        if ticket in called:
            return turn
        for one in called or [*line._held][:1]:
            standing.refused(line._held[one][0], now)
            line.leave(one)
        now += seconds
    raise AssertionError("its turn never comes")


@pytest.mark.parametrize("stranger", [lambda _: far(1), far, near], ids=["one machine", "200 machines", "a /48"])
@pytest.mark.parametrize("rounds", [0, 3])
def test_a_person_who_comes_now_is_next_whatever_has_filled_the_line(stranger, rounds):
    standing = Standing()
    line = Line(2, standing)
    for number in range(200):
        for _ in range(rounds):
            standing.refused(stranger(number), 0.0)
        line.come(stranger(number), 0.0)
    for _ in range(2):
        line.call(0.0)

    ticket, _ = line.come(person(), 0.0)

    assert turns_until(line, standing, ticket, 0.0) <= 2


@pytest.mark.parametrize("stranger", [far, near], ids=["100 machines", "a /48"])
def test_guesses_at_a_name_from_everywhere_become_few_and_its_user_waits_for_none(stranger):
    standing, guessed, now = Standing(), list[float](), 0.0
    line = Line(2, standing)
    numbers = iter(range(100_000))
    while now < 120:
        number = next(numbers)
        line.come(stranger(number % 100 if stranger is far else number, target="rita"), now)
        for ticket in line.call(now):
            guessed.append(now)
            standing.refused(line._held[ticket][0], now)
            line.leave(ticket)
        now += 0.1

    assert 10 < sum(at > 60 for at in guessed) <= 60 / PACE_SECONDS + 1
    ticket, _ = line.come(person(target="rita"), now)
    assert ticket in line.call(now)


def test_one_who_has_mistyped_waits_behind_those_who_have_not_and_before_those_who_guess():
    standing = Standing()
    line = Line(1, standing)
    standing.refused(person(), 0.0)
    for _ in range(4):
        standing.refused(far(1), 0.0)
    guesser, mistyped, colleague = (line.come(who, 0.0)[0] for who in (far(1), person(), person(2)))

    order = []
    for _ in range(3):
        order += line.call(0.0)
        line.leave(order[-1])

    assert order == [colleague, mistyped, guesser]


@pytest.mark.parametrize("most", range(3))
def test_a_line_that_is_full_sends_one_of_those_away_who_were_refused_most(most):
    standing = Standing()
    line = Line(1, standing)

    def crowd(number):
        who = (far(1), near(number), far(number))[most]
        standing.refused(who, 0.0)
        return line.come(who, 0.0)[1]

    mine, _ = line.come((far(1), near(1), person())[most], 0.0)
    sent = [crowd(number) for number in range(100, 100 + MOST_WAITING[most] + 50)]

    assert sum(map(len, sent)) == 51
    assert all(mine not in gone for gone in sent)


def test_who_came_before_a_crowd_and_who_comes_after_it_are_served_before_it():
    line = Line(1, Standing())
    before, _ = line.come(person(1), 0.0)
    for number in range(200):
        line.come(far(number), 0.0)
    after, _ = line.come(person(2), 0.0)

    served = line.call(0.0)
    line.leave(served[0])
    assert {*served, *line.call(0.0)} == {before, after}


def test_a_browser_that_is_known_goes_first_from_any_network_until_it_has_guessed_too_often():
    standing = Standing()
    line = Line(2, standing)
    for _ in range(100):
        standing.refused(far(1, target="rita"), 0.0)
    for _ in range(5):
        line.come(far(1, target="rita"), 0.0)
    known = far(1, target="rita", browser="rita's")

    ticket, _ = line.come(known, 0.0)

    assert line.call(0.0)[0] == ticket
    assert [standing.is_spent("rita's", 0.0) for _ in range(OF_BROWSER + 1) if standing.refused(known, 0.0)] == [
        *[False] * (OF_BROWSER - 1),
        True,
        True,
    ]


def test_guesses_that_a_known_browser_makes_at_once_have_no_other_bound():
    standing = Standing()
    line, known, as_known = Line(2, standing), person(target="rita", browser="rita's"), 0
    for _ in range(30):
        line.come(known, 0.0)
    for _ in range(30):
        (ticket,) = line.call(0.0) or [None]
        if ticket is None:
            break
        as_known += standing.rank(known, 0.0) < 0
        standing.refused(known, 0.0)
        line.leave(ticket)

    assert as_known == OF_BROWSER
    assert standing.rank(known, 0.0) == standing.rank(person(), 0.0) > 0


def test_what_is_known_of_strangers_is_bounded_and_forgotten():
    standing = Standing()
    for number in range(MOST_KNOWN + 10):
        standing.refused(Who(f"machine {number}", "network", f"name {number}"), 0.0)
    assert {len(record._refused) for record in (standing._machines, standing._targets)} == {MOST_KNOWN}
    assert standing.rank(person(), 0.0) == 0
    for _ in range(FREE):
        standing.refused(person(), 0.0)
    assert standing.rank(person(), FORGET_SECONDS) > 0
    assert standing.rank(person(), FORGET_SECONDS + 1) == 0


@given(st.ip_addresses())
def test_a_network_is_a_24_of_ipv4_and_a_48_of_ipv6(address):
    network = ip_network(network_of(peer_of(str(address), (), ())))

    assert network.prefixlen == (24 if network.version == 4 else 48)
    assert (getattr(address, "ipv4_mapped", None) or address) in network
    assert network_of(UNKNOWN) == UNKNOWN
