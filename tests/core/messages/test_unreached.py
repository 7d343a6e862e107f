"""The message on another channel for a customer whom the first one did not reach: when there is one, and when it
leaves."""

from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from onboarding_worker.core.database.tables import Batch, CustomerRow, InvitationRow, Job, SessionRow
from onboarding_worker.core.messages.unreached import fall_back
from onboarding_worker.core.model.channels import SuppressionReason
from onboarding_worker.core.model.customers import Channel, Person
from onboarding_worker.core.model.states import EVENT, InvitationState, JobState, SessionState
from onboarding_worker.core.rows.suppressions import suppress
from onboarding_worker.core.rules.contact import FIRST
from onboarding_worker.core.rules.quiet_hours import Hours, QuietHours
from tests.stored.shelf import CONTACT, customer

BY_TEXT = replace(CONTACT, fallbacks={"email": "sms", "whatsapp": "sms"})
BY_MAIL = replace(CONTACT, fallbacks={"sms": "email"})
MAIL, MOBILE, LANDLINE = "ona@example.org", "+37060000001", "+37052123456"


@pytest.fixture
def followed(shelf, keyring):
    """The channels of the messages that follow Ona's first one, and those of them that are due now."""

    def run(who=None, policy=BY_TEXT, *, changes=(), which=None):
        name = f"C-{len(shelf.rows(Job))}"
        batch = shelf.add(replace(who or customer("Ona"), customer_id=name))
        shelf.issue()
        job = shelf.job(name)
        own = {Batch: Batch.id == batch, Job: Job.id == job.id, SessionRow: SessionRow.id == job.session_id}
        own |= {CustomerRow: CustomerRow.customer_id == name}
        for model, values in changes:
            shelf.set(model, own[model], **values)
        before = {row.id for row in shelf.rows(InvitationRow, job_id=job.id)}
        with shelf.database.write() as connection:
            ids = before if which is None else which
            due = fall_back(connection, keyring, policy, ids, now=shelf.clock())
        added = [row for row in shelf.rows(InvitationRow, session_id=job.session_id) if row.id not in before]
        assert not added or due == {row.channel for row in added if row.due_at <= shelf.clock()}
        return sorted(row.channel for row in added)

    return run


def test_a_message_follows_on_the_channel_for_which_the_customer_has_an_address_that_may_be_used(followed):
    by_text, whatsapp = customer("Ona", channel=Channel.SMS), customer("Ona", channel=Channel.WHATSAPP)
    cases = [
        (customer("Ona"), BY_TEXT, ["sms"]),
        (whatsapp, BY_TEXT, ["sms"]),
        (by_text, BY_TEXT, []),
        (by_text, BY_MAIL, ["email"]),
        (customer("Ona"), BY_MAIL, []),
        (customer("Ona"), CONTACT, []),
        (customer("Ona", channel=Channel.BOTH), BY_TEXT, []),  # it has a text already
        (customer("Ona", person=Person(email=MAIL)), BY_TEXT, []),
        (customer("Ona", person=Person(email=MAIL, phone=LANDLINE)), BY_TEXT, []),
        (replace(by_text, person=Person(email=MAIL, phone=LANDLINE)), BY_MAIL, ["email"]),
        (customer("Ona"), replace(BY_TEXT, countries=frozenset({"LV"})), []),
        (customer("Ona"), replace(BY_TEXT, countries=frozenset({"LT"})), ["sms"]),
        (by_text, replace(BY_MAIL, countries=frozenset({"LV"})), ["email"]),
    ]
    assert [(case, got) for case in cases if (got := followed(*case[:2])) != case[-1]] == []


def test_a_message_follows_only_while_the_link_may_still_be_sent(followed, shelf):
    live = {SessionState.WAITING, SessionState.STARTED, SessionState.DEFERRED}
    for state in SessionState:
        assert followed(changes=[(SessionRow, {"state": state})]) == (["sms"] if state in live else []), state
    for state in JobState:
        expected = ["sms"] if state in (JobState.ISSUED, JobState.INVITED) else []
        assert followed(changes=[(Job, {"state": state})]) == expected, state
    for change in [
        (Job, {"session_id": uuid4()}),
        (Job, {"cancelled_at": shelf.clock()}),
        (Batch, {"cancelled_at": shelf.clock()}),
        (CustomerRow, {"encrypted": None}),
        (CustomerRow, {"encrypted": b"no key opens this"}),
    ]:
        assert followed(changes=[change]) == [], change
    assert followed(which=set()) == followed(which={uuid4()}) == []


def test_no_message_follows_to_an_address_that_is_suppressed(followed, shelf, keyring):
    with shelf.database.write() as connection:
        suppress(connection, keyring, "sms", MOBILE, SuppressionReason.STOP, "vita", now=shelf.clock())
    assert followed() == []
    assert followed(customer("Ona", person=Person(email=MAIL, phone="+37060000002"))) == ["sms"]


def test_it_leaves_after_the_quiet_hours_of_its_channel_and_not_before_its_first_message(followed, shelf):
    now, later = shelf.clock(), shelf.clock() + timedelta(hours=1)
    zone = {"timezone": "UTC"}
    quiet = replace(BY_TEXT, hours=Hours({"sms": QuietHours.parse("11:00-14:00")}))
    awake = replace(BY_TEXT, hours=Hours({"email": QuietHours.parse("11:00-14:00")}))
    cases = [
        (BY_TEXT, {}, now, ""),
        (BY_TEXT, {"invite_at": later}, later, ""),
        (BY_TEXT, {"invite_at": now - timedelta(hours=1)}, now, ""),
        (quiet, {}, now + timedelta(hours=2), "quiet_hours"),
        (quiet, {"invite_at": later}, now + timedelta(hours=2), "quiet_hours"),
        (quiet, {"invite_at": now + timedelta(hours=5)}, now + timedelta(hours=5), ""),
        (awake, {}, now, ""),
    ]
    for policy, job, due_at, reason in cases:
        changes = [(CustomerRow, zone), (Job, job | {"priority": EVENT})]
        assert followed(policy=policy, changes=changes) == ["sms"]
        (row,) = shelf.rows(InvitationRow, channel="sms", due_at=due_at)
        assert (row.reason, row.kind, row.state) == (reason, FIRST, InvitationState.WAITING)
        assert (row.priority, row.created_at) == (EVENT, now)
        shelf.set(InvitationRow, InvitationRow.channel == "sms", channel="done")
