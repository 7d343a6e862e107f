"""Which link a claimed message carries, in which words, and what becomes of one that carries none."""

from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from onboarding_worker.core.database.tables import Attempt, InvitationRow, Job, SessionRow, StableLink
from onboarding_worker.core.messages.claim_invitations import has_stale_link
from onboarding_worker.core.model.refusals import advice_of, of_stored
from onboarding_worker.core.model.states import InvitationState, JobState, SessionState
from onboarding_worker.core.rules.contact import Ladder, Rung, Wording
from onboarding_worker.core.rules.reconciliation import UnknownCall
from tests.stored.own_link import LINKS
from tests.stored.shelf import changed, customer

DAY = timedelta(days=1)
ONA = ("Ona", "onboarding")


def issued(shelf, *customers):
    shelf.add(*customers or [customer("Ona")])
    shelf.issue()


def with_own_links(shelf):
    shelf.message_policy = replace(shelf.message_policy, stable=LINKS)


def link_of(shelf, keyring):
    with shelf.database.write() as connection:
        return LINKS.ensure(connection, keyring, [ONA], now=shelf.clock())[ONA]


def claimed(shelf):
    (message,) = shelf.claim_messages()
    return message


def test_our_own_link_stands_in_place_of_the_sessions_and_is_never_too_old(shelf, keyring):
    issued(shelf)
    with_own_links(shelf)
    shelf.set(SessionRow, state=SessionState.EXPIRED, expires_at=shelf.clock() - DAY)
    message = claimed(shelf)
    link = link_of(shelf, keyring)
    assert (message.opening.link, message.expires_at, message.ended) == (link.address, link.ends_at, False)
    assert not has_stale_link(message, shelf.clock() + 365 * DAY)


def test_a_link_that_the_customer_had_before_is_no_new_one(shelf, keyring):
    cases = [
        (timedelta(0), Wording.NEW_LINK, Wording.NEW_LINK),  # made with the session
        (-DAY, Wording.NEW_LINK, Wording.NEW_LINK),
        (DAY, Wording.NEW_LINK, Wording.INVITATION),
        (DAY, Wording.TRY_AGAIN, Wording.TRY_AGAIN),
        (DAY, Wording.REMINDER, Wording.REMINDER),
    ]
    issued(shelf)
    message, link = claimed(shelf), link_of(shelf, keyring)
    for older, wording, expected in cases:
        one = replace(message, wording=wording)
        one.use_own_link(replace(link, made_at=one.issued_at - older))
        assert one.wording is expected, (older, wording)


def test_a_message_whose_own_link_was_revoked_never_leaves_and_one_that_no_key_reads_is_held(shelf, keyring):
    issued(shelf, customer("Ona"), customer("Jonas"), customer("Rasa"))
    with_own_links(shelf)
    with shelf.database.write() as connection:
        LINKS.ensure(connection, keyring, [(name, "onboarding") for name in ("Ona", "Jonas")], now=shelf.clock())
    shelf.set(StableLink, StableLink.customer_id == "Ona", revoked_at=shelf.clock())
    shelf.set(StableLink, StableLink.customer_id == "Jonas", encrypted=b"no key opens this")
    (message,) = shelf.claim_messages()
    assert message.customer.customer_id == "Rasa"
    rows = {row.job_id: (row.state, row.reason, row.due_at) for row in shelf.rows(InvitationRow)}
    assert rows[shelf.job("Ona").id] == (InvitationState.SUPERSEDED, "link_revoked", shelf.clock())
    assert rows[shelf.job("Jonas").id] == (InvitationState.HELD, "cannot_open", None)
    assert {name: shelf.job(name).state for name in ("Ona", "Jonas")} == {
        "Ona": JobState.ISSUED,
        "Jonas": JobState.HELD,
    }


def test_only_a_message_that_leaves_puts_off_the_end_of_its_own_link(shelf, keyring):
    issued(shelf, customer("Ona"), customer("Jonas", brand="nova"))
    shelf.message_policy = changed(shelf.message_policy, brands=frozenset())
    with_own_links(shelf)
    with shelf.database.write() as connection:
        LINKS.ensure(connection, keyring, [ONA, ("Jonas", "onboarding")], now=shelf.clock())
    before = shelf.clock() + LINKS.valid
    shelf.clock.now += 2 * DAY
    assert len(shelf.claim_messages()) == 1
    ends = {row.customer_id: row.ends_at for row in shelf.rows(StableLink)}
    assert ends == {"Ona": shelf.clock() + LINKS.valid, "Jonas": before}


@pytest.mark.parametrize("stable", [None, LINKS])
def test_a_link_that_went_to_an_address_that_was_corrected_is_too_old_unless_it_may_be_repeated(shelf, stable):
    shelf.message_policy = replace(shelf.message_policy, stable=stable)
    cases = [("", False, False), ("email", False, True), ("phone", False, False), ("email phone", True, False)]
    for number, (given_away, same_link, stale) in enumerate(cases):
        issued(shelf, customer(f"C-{number}"))
        shelf.set(SessionRow, SessionRow.customer_id == f"C-{number}", given_away=given_away, same_link=same_link)
        (message,) = shelf.claim_messages()
        assert (message.given_away, has_stale_link(message, shelf.clock())) == (stale, stale), given_away


def test_a_session_that_was_not_bought_yet_has_no_link_of_its_own(shelf, keyring):
    issued(shelf)
    with_own_links(shelf)
    shelf.set(SessionRow, state=SessionState.DEFERRED, encrypted=b"")
    message = claimed(shelf)
    assert message.opening.link == link_of(shelf, keyring).address
    assert not message.ended


def test_a_reminder_has_the_template_of_its_step_and_every_other_message_its_rows(shelf):
    ladder = Ladder({DAY: Rung(template="last"), 2 * DAY: Rung("sms")})
    shelf.message_policy = changed(shelf.message_policy, ladder=ladder, reminders=(DAY, 2 * DAY))
    issued(shelf, customer("Ona", template="gold"))
    templates = []
    for channel in ("email", "email", "sms"):
        (message,) = shelf.send(channel=channel)
        templates.append((message.kind, message.customer.template))
        shelf.clock.now += DAY
    assert templates == [("invitation", "gold"), ("reminder-1", "last"), ("reminder-2", "gold")]


def test_a_refused_customers_message_says_what_to_do_better(shelf):
    issued(shelf)
    (first,) = shelf.send()
    assert first.advice == ""
    refused = shelf.row(SessionRow).id
    shelf.set(SessionRow, state=SessionState.FAILED, check_at=None, reasons="DOC_TOO_BLURRY")
    shelf.set(Job, state=JobState.WAITING, due_at=shelf.clock(), refused_session=refused)
    shelf.issue()
    message = claimed(shelf)
    assert (message.wording, message.advice) == (Wording.TRY_AGAIN, advice_of(of_stored("DOC_TOO_BLURRY")))
    assert message.advice


def test_a_link_that_is_too_old_is_replaced_instead_of_opened_unless_it_may_have_left_before(shelf):
    issued(shelf, *map(customer, ("Stale", "Ended", "Unknown", "Fresh")))
    messages = {message.customer.customer_id: message for message in shelf.claim_messages()}
    stale = replace(messages["Stale"], expires_at=shelf.clock())
    unknown = replace(messages["Unknown"], expires_at=shelf.clock(), unknown_call=UnknownCall(uuid4(), shelf.clock()))
    items = [stale, replace(messages["Ended"], ended=True), unknown, messages["Fresh"]]
    opened = shelf.open_messages(items)
    assert [(item.customer.customer_id, item.at) for item in opened] == [
        ("Unknown", shelf.clock()),
        ("Fresh", shelf.clock()),
    ]
    assert {row.invitation_id for row in shelf.rows(Attempt, account="email")} == {item.id for item in opened}
    jobs = {name: (shelf.job(name).state, shelf.job(name).reason) for name in messages}
    again, issued_ = (JobState.WAITING, "stale_link"), (JobState.ISSUED, "")
    assert jobs == {"Stale": again, "Ended": again, "Unknown": issued_, "Fresh": issued_}
