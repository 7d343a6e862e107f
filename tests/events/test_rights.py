"""What a sender's event may do, by the owner of its customer."""

import re
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from onboarding_worker.core.model.incoming import NOBODY, OPERATOR, EventKind, EventSender
from onboarding_worker.events.standing import SenderStanding, may_name, standing_of

SIGNUP = EventSender("signup", frozenset(EventKind))
PRIVACY = EventSender("privacy", frozenset(EventKind), every_customer=True)


def test_a_sender_reaches_its_own_customers_and_one_with_the_right_reaches_all():
    cases = [
        (SIGNUP, "signup", SenderStanding(reaches=True, heeds="signup", heeds_all=True)),
        (SIGNUP, "billing", SenderStanding(reaches=False, heeds="signup", heeds_all=False)),
        (SIGNUP, "", SenderStanding(reaches=False, heeds="signup", heeds_all=False)),  # a list's
        (SIGNUP, None, SenderStanding(reaches=True, heeds="signup", heeds_all=False)),
        (PRIVACY, "signup", SenderStanding(reaches=True, heeds="signup", heeds_all=True)),
        (PRIVACY, "", SenderStanding(reaches=True, heeds="", heeds_all=True)),
        (PRIVACY, None, SenderStanding(reaches=True, heeds="privacy", heeds_all=True)),
        (OPERATOR, "signup", SenderStanding(reaches=True, heeds="signup", heeds_all=True)),
    ]
    assert [
        (sender, owner, standing, got)
        for sender, owner, standing in cases
        if (got := standing_of(sender, owner)) != standing
    ] == []


def test_what_a_sender_learns_of_anothers_customer_depends_on_its_own_events_only():
    for owner in ("billing", "", None):
        standing = standing_of(SIGNUP, owner)
        assert standing.counts("signup", every_customer=False)
        assert not standing.counts("billing", every_customer=False)
        assert not standing.counts("privacy", every_customer=True)


def test_the_events_of_a_sender_that_reaches_all_count_for_the_owner():
    assert standing_of(SIGNUP, "signup").counts("privacy", every_customer=True)
    assert not standing_of(SIGNUP, "signup").counts("billing", every_customer=False)


def test_an_event_whose_sender_nobody_has_set_may_do_nothing():
    assert not NOBODY.kinds
    assert not NOBODY.links
    assert not NOBODY.every_customer


def test_a_sender_may_name_the_ids_of_its_patterns_and_without_patterns_all():
    cases = {
        (): ("signup-1", "CLAIM-3"),
        ("signup-*",): ("signup-1", "signup-"),
        ("*-eu", "app-7"): ("1-eu", "app-7"),
        ("a*b*c",): ("abc", "a-b-b-c", "abbc"),
        ("*",): ("x",),
    }
    refused = {
        ("signup-*",): ("CLAIM-3", "signup", "Signup-1", "x-signup-1", ""),
        ("*-eu", "app-7"): ("1-eu-2", "app-77"),
        ("a*b*c",): ("ac", "acb", "ab"),
        ("a*a",): ("a",),
        ("a.c", "[x]*", "?"): ("abc", "x1", "y"),  # no other sign means anything
    }
    for allowed, of in ((True, cases), (False, refused)):
        for patterns, ids in of.items():
            sender = replace(SIGNUP, ids=patterns)
            assert [(patterns, one) for one in ids if may_name(sender, one) is not allowed] == []


@given(st.text("ab*", min_size=1, max_size=8), st.text("ab", max_size=10))
def test_a_pattern_of_ids_means_what_its_regular_expression_means(pattern, customer_id):
    expression = ".*".join(map(re.escape, pattern.split("*")))
    assert may_name(replace(SIGNUP, ids=(pattern,)), customer_id) == bool(re.fullmatch(expression, customer_id))
