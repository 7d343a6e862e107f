"""Places of an address: never more messages than the cap within a period, and a place for each that may leave."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from onboarding_worker.core.model.states import InvitationState, JobState
from onboarding_worker.core.rules.contact import AddressCap, Place, Wish, give_places, text_of_mailbox

NOW = datetime(2026, 11, 20, 10, tzinfo=UTC)
DAY = timedelta(days=1)
CAP = AddressCap(3, 7 * DAY)
MESSAGES = [UUID(int=number) for number in range(9)]


def place(number, *, days_ago=1.0, job_id=0, invitation_id=None, job=JobState.WORKING, invitation=None):
    return Place(number, job_id, invitation_id, NOW - days_ago * DAY, job, invitation)


def test_the_tags_of_one_mailbox_have_its_places_and_all_else_counts_apart():
    assert text_of_mailbox("email", "Ona+1@example.com") == text_of_mailbox("email", "ona+2+3@example.com")
    assert text_of_mailbox("email", "ona+1@example.com") == text_of_mailbox("email", "ona@example.com")
    apart = ("o.na@example.com", "ona@example.org", "+1@example.com", "+2@example.com", "ona-1@example.com")
    assert len({text_of_mailbox("email", one) for one in ("ona@example.com", *apart)}) == 6
    assert text_of_mailbox("sms", "+37060000001") != text_of_mailbox("sms", "+37060000002")


def jobs(*ids):
    return [Wish(id_) for id_ in ids]


def test_sixty_customers_get_three_places_and_the_rest_a_time_each_when_one_is_free():
    found = give_places(CAP, [], jobs(*range(60)), now=NOW)
    assert found[:3] == [0, 1, 2]
    assert found[3:] == [NOW + 7 * DAY * round_ for round_ in range(1, 20) for _ in range(3)]


def test_who_waits_comes_back_when_the_oldest_message_no_longer_counts():
    places = [place(0, days_ago=1), place(1, days_ago=6), place(2, days_ago=3)]
    assert give_places(CAP, places, jobs(7, 8, 9, 10), now=NOW) == [
        NOW + DAY,
        NOW + 4 * DAY,
        NOW + 6 * DAY,
        NOW + 8 * DAY,
    ]


def test_a_place_is_free_a_period_after_it_was_taken():
    places = [place(0, days_ago=7), place(1), place(2)]
    assert give_places(CAP, places, jobs(7), now=NOW) == [0]
    assert give_places(CAP, places, jobs(7), now=NOW - timedelta(microseconds=1)) == [NOW]


def test_a_job_that_is_claimed_again_keeps_its_place_and_so_does_its_message():
    places = [place(0), place(1, job_id=7), place(2)]
    assert give_places(CAP, places, jobs(7), now=NOW) == [1]
    assert give_places(CAP, places, [Wish(7, MESSAGES[1])], now=NOW) == [1]


def test_the_next_message_of_a_job_needs_another_place():
    sent = place(0, job_id=7, invitation_id=MESSAGES[1], invitation=InvitationState.SENT)
    assert give_places(CAP, [sent], [Wish(7, MESSAGES[2])], now=NOW) == [1]
    assert give_places(CAP, [sent], [Wish(7, MESSAGES[1])], now=NOW) == [0]  # tried again
    assert give_places(CAP, [sent], jobs(7), now=NOW) == [1]  # its next session


def test_a_place_whose_message_never_leaves_is_free_at_once(subtests):
    cases = [
        (place(0, job=JobState.FAILED), True),
        (place(0, job=JobState.CANCELLED), True),
        (place(0, job=JobState.HELD), False),
        (place(0, job=JobState.WAITING), False),
        (place(0, job=None), False),
        (place(0, job=JobState.FAILED, invitation_id=MESSAGES[0], invitation=InvitationState.SENT), False),
        (place(0, invitation_id=MESSAGES[0], invitation=InvitationState.WAITING), False),
        (place(0, invitation_id=MESSAGES[0], invitation=InvitationState.HELD), False),
        (place(0, invitation_id=MESSAGES[0], invitation=InvitationState.BOUNCED), False),
        (place(0, invitation_id=MESSAGES[0], invitation=InvitationState.FAILED), True),
        (place(0, invitation_id=MESSAGES[0], invitation=InvitationState.SUPERSEDED), True),
        (place(0, invitation_id=MESSAGES[0], invitation=InvitationState.SUPPRESSED), True),
        (place(0, invitation_id=MESSAGES[0], invitation=None), False),
    ]
    for taken, free in cases:
        with subtests.test(taken=taken):
            (given_,) = give_places(AddressCap(1, 7 * DAY), [taken], jobs(7), now=NOW)
            assert given_ == (0 if free else NOW + 6 * DAY)


def test_a_hand_over_that_may_have_arrived_keeps_its_place_whatever_becomes_of_its_message():
    ended = place(0, invitation_id=MESSAGES[0], invitation=InvitationState.FAILED)
    once = replace(ended, unknown_handovers=1)
    assert give_places(AddressCap(1, 7 * DAY), [ended], jobs(7), now=NOW) == [0]
    assert give_places(AddressCap(1, 7 * DAY), [once], jobs(7), now=NOW) == [NOW + 6 * DAY]


def test_a_message_that_may_have_arrived_needs_a_place_more_for_each_time():
    first, second = (
        place(number, days_ago=3 - number, invitation_id=MESSAGES[1], invitation=InvitationState.WAITING)
        for number in range(2)
    )
    wishes = [Wish(0, MESSAGES[1], handovers) for handovers in range(3)]
    assert [give_places(CAP, [first], [wish], now=NOW)[0] for wish in wishes] == [0, 1, 1]
    assert [give_places(CAP, [first, second], [wish], now=NOW)[0] for wish in wishes] == [1, 1, 2]
    assert give_places(AddressCap(1, 7 * DAY), [first], wishes[1:2], now=NOW) == [NOW + 4 * DAY]


def test_two_wishes_of_one_job_never_share_a_place():
    both = [Wish(7, MESSAGES[1]), Wish(7, MESSAGES[2])]
    assert give_places(CAP, [place(1, job_id=7)], both, now=NOW) == [1, 0]
    assert give_places(CAP, [place(1, job_id=7), place(2, job_id=7, days_ago=2)], both, now=NOW) == [1, 2]
    assert give_places(AddressCap(1, 7 * DAY), [place(0, job_id=7)], both, now=NOW) == [0, NOW + 6 * DAY]


def test_a_cap_that_was_lowered_gives_no_place_until_few_enough_count():
    places = [place(number, days_ago=number) for number in range(5)]
    assert give_places(AddressCap(2, 7 * DAY), places, jobs(7, 8), now=NOW) == [NOW + 6 * DAY, NOW + 7 * DAY]


@given(st.integers(1, 4), st.lists(st.tuples(st.integers(0, 20), st.integers(0, 12), st.booleans()), max_size=60))
def test_no_order_of_wishes_ever_gets_more_than_the_cap_within_a_period(most, steps):
    cap = AddressCap(most, 5 * DAY)
    now, places, sent = NOW, {}, []
    for hours, job_id, leaves in steps:
        now += timedelta(hours=hours * 3)
        wish = Wish(job_id, UUID(int=len(sent)) if leaves else None)
        (got,) = give_places(cap, list(places.values()), [wish], now=now)
        if isinstance(got, datetime):
            assert now < got <= now + cap.period
            continue
        state = InvitationState.SENT if leaves else None
        places[got] = Place(got, job_id, wish.invitation_id, now, JobState.WORKING, state)
        if leaves:
            sent.append(now)
        assert sum(at > now - cap.period for at in sent) <= most
