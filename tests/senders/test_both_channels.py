"""Email and SMS through the whole engine: both, one of them, the provider's own; neither channel slows the other."""

import asyncio
from datetime import timedelta

import pytest

from onboarding_sandbox import Fault, Sandbox, SandboxOptions
from onboarding_testing.fakes import FakeSender
from onboarding_worker.core.database.tables import InvitationRow
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.sessions import ExpirySource, Session
from onboarding_worker.core.model.states import InvitationState, JobState
from onboarding_worker.core.model.wakeups import WakeUp
from onboarding_worker.senders.contract import Receipt
from onboarding_worker.wiring.work import invite_work
from tests.senders.works import customer

EMAIL = '[email]\nurl = "smtp://127.0.0.1:{smtp}"\nfrom = "Example Bank <verify@bank.example>"\n'
SMS = """[sms]
base_url = "{url}/twilio"
account = "AC00000000000000000000000000000001"
token = {{ env = "TWILIO_TOKEN" }}
from = "+15005550006"
limits = ["1000/second"]
"""


class SlowSender(FakeSender):
    """Hands over nothing until it is released. `begun` is set with its first message."""

    def __init__(self):
        super().__init__()
        self.begun, self.released = asyncio.Event(), asyncio.Event()

    async def send(self, message, may_write=None):
        self.begun.set()
        await self.released.wait()
        return await super().send(message, may_write)


@pytest.fixture
async def played(works):
    """A sandbox with a worker that sends to it; the test gives the faults and the ends of the sections."""
    sandboxes = []

    async def play(*, faults=(), more="", sections=EMAIL + SMS):
        # The same faults each time: with other faults a text may fail at every try.
        sandbox = Sandbox(SandboxOptions(faults=faults, seed=7))
        await sandbox.start()
        sandboxes.append(sandbox)
        return sandbox, works(sections.format(smtp=sandbox.smtp_port, url=sandbox.url) + more)

    yield play
    for sandbox in sandboxes:
        await sandbox.stop()


async def test_a_customer_with_both_channels_gets_an_email_and_a_text_with_the_same_link(played):
    sandbox, worker = await played()

    await worker.work(customer("Ona", Channel.BOTH))

    (mail,), (text,) = sandbox.mailbox, sandbox.texts
    assert "https://verify.test/token-00000001" in mail.text
    assert "https://verify.test/token-00000001" in text.body
    assert text.body.startswith("Example Bank: ")
    assert worker.message("sms").reference == text.sid
    assert worker.job("Ona").state is JobState.INVITED


async def test_each_channel_alone_sends_one_message(played):
    sandbox, worker = await played()

    await worker.work(customer("Ona", Channel.SMS), customer("Jonas", Channel.EMAIL), customer("Rasa", Channel.NONE))

    assert (len(sandbox.mailbox), len(sandbox.texts)) == (1, 1)


async def test_a_text_ends_waiting_at_twilio_before_its_link_does(played):
    sandbox, worker = await played()
    worker.provider.lifetime = timedelta(hours=13)
    await worker.work(customer("Ona", Channel.SMS))
    assert sandbox.texts[0].validity == 36_000

    worker.provider.answers = [session(worker, lifetime=timedelta(hours=12, minutes=5))]
    await worker.work(customer("Jonas", Channel.SMS))
    assert sandbox.texts[1].validity == 36_000


def session(worker, *, lifetime=timedelta(days=7), **changes):
    token = "token-of-its-own"
    return Session(
        **{
            "token": token,
            "link": f"https://verify.test/{token}",
            "reference": "session-0",
            "expires_at": worker.clock() + lifetime,
            "expiry_source": ExpirySource.ANSWER,
            **changes,
        }
    )


async def test_a_text_that_the_provider_has_sent_itself_is_not_sent_again(played):
    sandbox, worker = await played()
    worker.provider.answers = [session(worker, sms_sent=True)]

    await worker.work(customer("Ona", Channel.BOTH))

    assert (len(sandbox.mailbox), len(sandbox.texts)) == (1, 0)
    assert worker.message("sms").reason == "sent_by_provider"
    assert worker.job("Ona").state is JobState.INVITED


@pytest.mark.parametrize(("fault", "arrived"), [("drop-after", 1), ("500", 0)])
async def test_a_text_without_an_answer_is_held_and_never_sent_twice(played, fault, arrived):
    sandbox, worker = await played(faults=(Fault(fault, 1.0, "twilio"),), more='on_unknown = "hold"\n')

    await worker.work(customer("Ona", Channel.BOTH))
    worker.clock.advance(timedelta(hours=1))
    await worker.work()

    assert (len(sandbox.texts), len([one for one in sandbox.log if one["endpoint"] == "twilio"])) == (arrived, 1)
    assert len(sandbox.mailbox) == 1
    assert worker.message("sms").state is InvitationState.HELD
    assert worker.job("Ona").state is JobState.HELD  # though the email is sent: the outcome of the text is unknown
    assert "Twilio" in worker.job("Ona").detail


async def test_a_text_with_an_unknown_outcome_holds_the_job_that_has_no_other_message(played):
    _, worker = await played(faults=(Fault("drop-after", 1.0, "twilio"),), more='on_unknown = "hold"\n')

    await worker.work(customer("Ona", Channel.SMS))

    assert worker.job("Ona").state is JobState.HELD
    assert "Twilio" in worker.job("Ona").detail


async def test_a_text_whose_answer_was_lost_is_found_and_no_second_one_is_sent(played):
    sandbox, worker = await played(faults=(Fault("drop-after", 1.0, "twilio"),))

    await worker.work(customer("Ona", Channel.SMS))
    waiting = worker.message("sms")
    assert (waiting.state, worker.job("Ona").state) == (InvitationState.WAITING, JobState.ISSUED)
    worker.clock.advance(waiting.due_at - worker.clock())
    await worker.work()

    (text,) = sandbox.texts
    message = worker.message("sms")
    assert (message.state, message.reference, message.unknown_attempt, message.attempts) == (
        InvitationState.SENT,
        text.sid,
        None,
        1,
    )
    assert worker.job("Ona").state is JobState.INVITED
    assert [entry["endpoint"] for entry in sandbox.log if entry["endpoint"] != "smtp"] == ["twilio", "twilio-list"]


async def test_a_text_that_is_not_at_twilio_is_sent_again(played):
    sandbox, worker = await played(faults=(Fault("drop-before", 0.5, "twilio"),))
    customers = [customer(f"C{number}", Channel.SMS, number=number) for number in range(8)]

    for who in customers:
        await worker.work(who)
    for _ in range(10):
        worker.clock.advance(timedelta(seconds=80))
        await worker.work()

    dropped = [entry for entry in sandbox.log if entry["endpoint"] == "twilio" and entry["fault"]]
    assert dropped
    assert len({text.body for text in sandbox.texts}) == len(sandbox.texts) == 8
    assert {worker.job(who.customer_id).state for who in customers} == {JobState.INVITED}


async def test_with_on_unknown_repeat_a_second_text_is_risked(played):
    sandbox, worker = await played(faults=(Fault("drop-after", 1.0, "twilio"),), more='on_unknown = "repeat"\n')

    await worker.work(customer("Ona", Channel.SMS))
    assert len(sandbox.texts) == 2
    for _ in range(6):  # the further ones are paced
        worker.clock.advance(timedelta(minutes=31))
        await worker.work()

    # Each may have arrived, so each counts; at the customer's cap a person must decide.
    assert (len(sandbox.texts), worker.message("sms").state) == (6, InvitationState.HELD)


async def test_a_number_that_has_opted_out_is_suppressed_and_the_mail_still_invites(played):
    sandbox, worker = await played()
    person = customer("Ona").person
    ona = customer("Ona", Channel.BOTH, person=type(person)(email=person.email, phone="+15005550004"))

    await worker.work(ona)

    assert worker.message("sms").state is InvitationState.SUPPRESSED
    assert "opted out" in worker.message("sms").detail
    assert "5550004" not in worker.message("sms").detail
    assert (len(sandbox.mailbox), worker.job("Ona").state) == (1, JobState.INVITED)


async def test_a_rate_limit_pauses_texts_alone_and_costs_no_attempt(played):
    sandbox, worker = await played(faults=(Fault("429", 1.0, "twilio", retry_after="90"),))

    await worker.work(*(customer(name, Channel.BOTH) for name in ("Ona", "Jonas")))

    assert len(sandbox.mailbox) == 2
    assert worker.budget("sms").blocked_until - worker.clock() > timedelta(seconds=60)
    assert worker.budget("email").blocked_until is None
    assert {row.attempts for row in worker.rows(InvitationRow, channel="sms")} == {0}


async def test_a_wrong_token_stops_texts_alone(played):
    sandbox, worker = await played(sections=EMAIL + SMS.replace("TWILIO_TOKEN", "SECRET"))

    await worker.work(customer("Ona", Channel.BOTH))

    assert "20003" in worker.budget("sms").stop_reason
    assert "onboard account resume sms" in {one.action for one in worker.parts.operation.report().attention}
    assert worker.budget("email").stopped_at is None
    assert (len(sandbox.mailbox), worker.message("sms").state) == (1, InvitationState.WAITING)


async def test_each_from_has_a_budget_of_its_own_and_its_own_limit(played):
    _, worker = await played()

    rule = worker.parts.budget_rules.channels["sms"]

    assert rule.name == "sender/sms:+15005550006"
    assert [str(limit.count) for limit in rule.limits] == ["1000"]
    assert worker.parts.budget_rules.channels["email"].name == "sender/email"


@pytest.mark.parametrize(
    ("sections", "channels"), [(EMAIL, ("email",)), (SMS, ("sms",)), (EMAIL + SMS, ("email", "sms")), ("", ())]
)
async def test_the_channels_are_those_that_are_configured(played, sections, channels):
    _, worker = await played(sections=sections)

    assert worker.parts.channels == channels
    assert tuple(worker.parts.senders) == channels


@pytest.mark.parametrize(
    ("sections", "name"),
    [
        (EMAIL + SMS, "Example Bank"),
        (EMAIL + SMS + '[brand]\nname = "Example"\n', "Example"),
        (SMS, "Verification"),
        (SMS.replace("+15005550006", "ExampleBank"), "ExampleBank"),
        (EMAIL + SMS.replace("+15005550006", "MG" + "0" * 32), "Example Bank"),
    ],
)
async def test_a_text_names_its_sender(played, sections, name):
    _, worker = await played(sections=sections)

    assert invite_work(worker.parts, "sms").sender_names[""] == name


@pytest.mark.parametrize(("slow", "fast"), [("sms", "email"), ("email", "sms")])
async def test_a_slow_sender_does_not_slow_the_other(works, slow, fast):
    senders = {slow: SlowSender(), fast: FakeSender()}
    worker = works(EMAIL.format(smtp=1) + SMS.format(url="http://127.0.0.1:1"), senders=senders)
    worker.add(*(customer(f"C{number}", Channel.BOTH, number=number) for number in range(30)))
    runner = worker.runner()
    await runner.serve(WakeUp.issue("kyc"))
    stuck = asyncio.create_task(runner.serve(WakeUp.invite(slow)))
    await senders[slow].begun.wait()

    for _ in range(5):  # on a busy machine rows miss their slots and are released; the sweep would wake them
        await runner.serve(WakeUp.invite(fast))

    assert (len(senders[fast].messages), len(senders[slow].messages)) == (30, 0)
    assert not stuck.done()
    senders[slow].released.set()
    await stuck
    for _ in range(5):
        await runner.serve(WakeUp.invite(slow))
    await runner.close()
    assert len(senders[slow].messages) == 30


async def test_a_message_is_handed_over_with_its_links_remaining_life(works):
    senders = {"email": FakeSender([Receipt()]), "sms": FakeSender()}
    worker = works(EMAIL.format(smtp=1), senders=senders)

    await worker.work(customer("Ona", Channel.SMS))

    (text,) = senders["sms"].messages
    assert timedelta(days=6, hours=23) < text.valid_for <= timedelta(days=7)
