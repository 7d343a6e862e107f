"""What a sender's event may do, by the owner of its customer."""

from worker.domain.events.incoming import NOBODY, OPERATOR, EventKind, EventSender
from worker.domain.events.rights import Standing, standing_of

SIGNUP = EventSender("signup", frozenset(EventKind))
PRIVACY = EventSender("privacy", frozenset(EventKind), every_customer=True)


def test_a_sender_reaches_its_own_customers_and_one_with_the_right_reaches_all():
    cases = [
        (SIGNUP, "signup", Standing(reaches=True, heeds="signup", heeds_all=True)),
        (SIGNUP, "billing", Standing(reaches=False, heeds="signup", heeds_all=False)),
        (SIGNUP, "", Standing(reaches=False, heeds="signup", heeds_all=False)),  # a list's
        (SIGNUP, None, Standing(reaches=True, heeds="signup", heeds_all=False)),
        (PRIVACY, "signup", Standing(reaches=True, heeds="signup", heeds_all=True)),
        (PRIVACY, "", Standing(reaches=True, heeds="", heeds_all=True)),
        (PRIVACY, None, Standing(reaches=True, heeds="privacy", heeds_all=True)),
        (OPERATOR, "signup", Standing(reaches=True, heeds="signup", heeds_all=True)),
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
