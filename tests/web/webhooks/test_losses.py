"""Messages that a sender took, and reports as lost for a reason that is not the customer's: sent again once if it was
ours, and counted; and bounces that name only an address."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onboarding_worker.core.budgets.budgets import Budgets, read
from onboarding_worker.core.budgets.reports import NAMED_FOR, unread_codes
from onboarding_worker.core.claim.flush import CallResult
from onboarding_worker.core.database.tables import BounceCount, InvitationRow, Suppression
from onboarding_worker.core.model.channels import CHANNELS, SuppressionReason
from onboarding_worker.core.model.customers import Channel, Person
from onboarding_worker.core.model.endings import Done
from onboarding_worker.core.model.states import InvitationState, JobState, WebhookState
from onboarding_worker.core.model.stops import About
from onboarding_worker.core.model.wakeups import WakeUp
from onboarding_worker.core.rows.usage import messages_of
from onboarding_worker.core.rules.contact import Caps, PauseRule
from onboarding_worker.senders.contract import DeliveryStatus, DeliveryUpdate, Stop
from onboarding_worker.settings.policies import fallbacks
from onboarding_worker.web.webhooks.store.delivery_reports import AGAIN_AFTER, LATELY
from tests.stored.post import EMAIL, TEXT
from tests.stored.shelf import CONTACT, changed, customer

BY_MAIL_THEN = replace(CONTACT, fallbacks=fallbacks("email", CHANNELS))
LOST = {"status": DeliveryStatus.BLOCKED, "code": "30034", "words": "our number is not registered"}
OURS = LOST | {"about": About.US}
NEW = {"status": DeliveryStatus.BLOCKED, "code": "39999", "about": About.UNKNOWN}


def budget(post, channel="sms"):
    with post.shelf.database.read() as connection:
        return read(connection, f"sender/{channel}")


def counted(post):
    with post.shelf.database.read() as connection:
        return messages_of(connection, ["Ona"])["Ona"].sent


def lost(post, reference, *, channel="sms", **what):
    return post.report(reference, channel=channel, **(what or OURS))


def send_again(post, sid):
    post.shelf.clock.advance(seconds=AGAIN_AFTER.total_seconds())
    policy = post.shelf.on("sms")
    (one,) = post.shelf.open_messages(post.shelf.claim_messages(channel="sms"), policy=policy)
    post.shelf.finish_messages(CallResult(one, post.shelf.clock(), Done(), reference=sid), policy=policy)


@pytest.mark.both_databases
def test_a_text_that_was_lost_because_of_us_is_sent_again_once_and_each_counts(post):
    post.policy = BY_MAIL_THEN
    reference = post.send(channel="sms")
    assert lost(post, reference).state is WebhookState.APPLIED
    row, job = post.message("sms"), post.shelf.job("Ona")
    assert (row.state, row.due_at) == (InvitationState.WAITING, post.shelf.clock() + AGAIN_AFTER)
    assert "30034: our number is not registered" in row.detail
    assert (job.state, counted(post)) == (JobState.ISSUED, 1)
    assert lost(post, reference).state is WebhookState.WAITING  # its id is not known any more
    assert post.shelf.send(channel="sms") == []
    send_again(post, "AGAIN")
    assert (post.shelf.job("Ona").state, counted(post)) == (JobState.INVITED, 2)

    assert lost(post, post.message("sms").reference).state is WebhookState.APPLIED
    row = post.message("sms")
    assert (row.state, row.reason, row.due_at) == (InvitationState.FAILED, "message_refused", None)
    assert counted(post) == 2
    assert post.due == {WakeUp.invite("email")}  # once it is clear that a text does not reach the customer
    assert post.suppressed(("sms", TEXT)) == {}


def test_a_text_that_arrives_after_it_was_lost_is_delivered(post):
    lost(post, post.send(channel="sms"))
    send_again(post, "AGAIN")
    post.report(post.message("sms").reference, DeliveryStatus.DELIVERED, channel="sms")
    assert (post.message("sms").state, budget(post).lost) == (InvitationState.DELIVERED, 0)


def test_no_second_text_leaves_where_the_customers_cap_is_used_up(post):
    lost(post, post.send(channel="sms"))
    post.shelf.clock.advance(seconds=AGAIN_AFTER.total_seconds())
    policy = changed(post.shelf.on("sms"), caps=Caps(reissues=3, messages=1))
    assert list(post.shelf.invitations.claim(policy, most=9, now=post.shelf.clock()).invitations) == []
    assert post.message("sms").reason == "messages_spent"


def five(post, **what):
    people = [customer(f"C{n}", channel=Channel.SMS, person=Person(phone=f"+3706000010{n}")) for n in range(6)]
    post.send(*people, channel="sms")
    return [lost(post, f"SM{n}", **what) for n in range(5)]


def test_five_in_a_row_stop_the_sender_with_the_services_words_and_only_a_person_ends_it(post):
    five(post)
    state, budgets = budget(post), Budgets(post.shelf.database)
    assert (state.stopped_at, state.asks_again_at) == (post.shelf.clock(), None)
    assert "30034: our number is not registered" in state.stop_reason
    assert budgets.resume("sender/sms") == []
    post.shelf.clock.advance(minutes=30)
    assert post.shelf.send(channel="sms") == []
    budgets.resume("sender/sms", by_person_at=post.shelf.clock())
    assert (budget(post).stopped_at, budget(post).lost) == (None, 0)
    lost(post, "SM5")  # it left before that
    assert budget(post).lost == 0


def test_losses_of_ours_are_no_bounces_of_the_list(post):
    post.policy = changed(post.shelf.on("sms"), pause=PauseRule(1, 1)).contact
    five(post)
    five_new = [lost(post, "SM5", **NEW)]
    assert [one.state for one in five_new] == [WebhookState.APPLIED]
    assert [row.bounced for row in post.shelf.rows(BounceCount) if row.bounced] == []


@pytest.mark.both_databases
def test_a_code_of_no_known_meaning_is_counted_and_held_apart(post):
    post.policy = BY_MAIL_THEN
    now = post.shelf.clock()
    lost(post, post.send(channel="sms"), **NEW)
    row = post.message("sms")
    assert (row.state, row.reason) == (InvitationState.FAILED, "message_refused")
    assert "39999, which our tables do not have" in row.detail
    assert post.due == {WakeUp.invite("email")}
    (one,) = unread_codes(post.shelf.database, now=now)
    assert (one.budget, one.code, one.number, one.first_at) == ("sender/sms", "39999", 1, now)
    assert unread_codes(post.shelf.database, now=now + NAMED_FOR) == []


UPDATES = st.builds(
    dict,
    status=st.sampled_from([None, *DeliveryStatus]),
    stop=st.sampled_from([None, *Stop]),
    about=st.sampled_from([About.US, About.UNKNOWN]),
    address=st.sampled_from(["", TEXT]),
    code=st.sampled_from(["", "30034"]),
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(update=UPDATES, known=st.booleans())
def test_what_is_about_us_or_of_no_known_meaning_never_suppresses_an_address(post, update, known):
    """Whatever an adapter says beside it."""
    if not post.shelf.rows(InvitationRow):
        post.send(channel="sms")
    post.report("SM0" if known else "", channel="sms", **update)
    assert post.shelf.rows(Suppression) == []


GONE = {"status": DeliveryStatus.BOUNCED, "stop": Stop.BOUNCED, "about": About.ADDRESS, "address": EMAIL}


def test_a_bounce_that_names_only_the_address_belongs_to_the_one_mail_that_went_there_lately(post):
    post.send()
    post.shelf.clock.advance(hours=30)
    assert post.report("", **GONE).state is WebhookState.APPLIED
    assert (post.message().state, post.shelf.job("Ona").state) == (InvitationState.BOUNCED, JobState.FAILED)
    assert post.suppressed(("email", EMAIL)) == {("email", EMAIL): SuppressionReason.BOUNCE}


def test_it_suppresses_the_address_and_ends_no_mail_where_several_went_there_or_none_lately(post):
    twins = [customer(name, person=Person(email=EMAIL)) for name in ("Ona", "Jonas")]
    post.send(*twins)
    assert post.report("", **GONE).customers == ("Jonas", "Ona")
    assert {row.state for row in post.shelf.rows(InvitationRow)} == {InvitationState.SENT}
    assert post.suppressed(("email", EMAIL))


def test_it_does_not_end_a_mail_of_last_week(post):
    post.send()
    post.shelf.clock.advance(seconds=(LATELY + timedelta(hours=1)).total_seconds())
    post.report("", **GONE)
    assert post.message().state is InvitationState.SENT


def test_a_stored_report_of_a_release_before_is_read(post):
    assert DeliveryUpdate("undelivered", "SM1", status=DeliveryStatus.BLOCKED, code="30034").is_apart is False
