"""What becomes of a link whose address was corrected after it had gone there."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.rules.contact import CorrectedRule
from onboarding_worker.core.rules.given_links import (
    GIVEN_AWAY,
    MAY_HAVE_LEFT,
    AnotherSession,
    GivenLink,
    SameLink,
    Spent,
    WaitForEnd,
    after_corrected_address,
    is_kept_back,
    kinds_of,
    written,
)

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
END = NOW + timedelta(days=3)
AT_ITS_END = GivenLink(went=True, expires_at=END, allowed_from=END)
EARLY = replace(AT_ITS_END, allowed_from=NOW)
WAIT, SAME = CorrectedRule.WAIT, CorrectedRule.SAME_LINK
SPENT = {"cap": Reason.REISSUES_SPENT}


def test_what_a_corrected_address_gets(subtests):
    for link, rule, after in [
        (AT_ITS_END, WAIT, WaitForEnd(END)),
        (AT_ITS_END, SAME, SameLink()),
        (EARLY, WAIT, AnotherSession()),
        (EARLY, SAME, AnotherSession()),
        (replace(AT_ITS_END, **SPENT), WAIT, Spent(Reason.REISSUES_SPENT, END)),
        (replace(AT_ITS_END, **SPENT), SAME, SameLink()),
        (replace(EARLY, **SPENT), SAME, Spent(Reason.REISSUES_SPENT, END)),
        (replace(EARLY, went=False), WAIT, None),
        (replace(EARLY, expires_at=NOW), WAIT, None),
    ]:
        with subtests.test(link=link, rule=rule, after=after):
            assert after_corrected_address(link, rule, now=NOW) == after


@given(
    link=st.builds(
        GivenLink,
        went=st.just(True),
        expires_at=st.just(END),
        allowed_from=st.sampled_from([NOW, END]),
        cap=st.sampled_from([None, Reason.REISSUES_SPENT]),
    )
)
def test_no_link_goes_to_a_second_address_by_itself(link):
    assert not isinstance(after_corrected_address(link, WAIT, now=NOW), SameLink)


def test_a_message_on_a_channel_of_an_address_that_is_right_may_repeat_the_link():
    assert is_kept_back("email", same_link=False, channel="email")
    assert not is_kept_back("email", same_link=False, channel="sms")
    assert is_kept_back("email phone", same_link=False, channel="whatsapp")
    assert not is_kept_back("email", same_link=True, channel="email")
    assert not is_kept_back("", same_link=False, channel="email")


def test_the_kinds_of_addresses_are_read_as_they_were_written():
    for given_away, kinds in [("", ()), ("phone", ("phone",)), ("email phone", ("email", "phone"))]:
        assert (kinds_of(given_away), written(kinds[::-1])) == (kinds, given_away)
    assert kinds_of(GIVEN_AWAY) == ("email", "phone")


def test_a_message_may_have_left_while_it_is_sent_or_held():
    assert {state.value for state in MAY_HAVE_LEFT} == {"working", "sent", "delivered", "held"}
