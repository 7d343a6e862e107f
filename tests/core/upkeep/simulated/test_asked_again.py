"""Customers whom the provider has refused: those refused for a named reason are asked once more, in full runs with
virtual time and iDenfy's own webhooks."""

import json
import random
from datetime import timedelta
from hashlib import sha256
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.tables import InvitationRow, Job, SessionRow
from onboarding_worker.core.model.channels import SuppressionReason
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.states import JobState
from onboarding_worker.core.rows.suppressions import suppress
from onboarding_worker.providers.webhooks.contract import Delivery
from onboarding_worker.providers.webhooks.idenfy import IdenfyKycWebhooks
from onboarding_worker.web.webhooks.store.webhooks import Arrived, update_as_json
from onboarding_worker.wiring.sweep import Sweep
from tests.simulated.two_brands import ASKED, asked, brands, bring_in, two_brands
from tests.simulated.world import World, customer

NAMED = ("DOC_TOO_BLURRY", "DOC_NOT_FULLY_VISIBLE", "FACE_TOO_BLURRY", "NAME")
OTHERS = ("DOC_EXPIRED", "DOC_DAMAGED", "UNDER_AGE", "A_NEW_CODE", "SURNAME", "MRZ_NOT_FOUND", "FACE_ERROR", "DOC_FAKE")
SECTION = f"[retry_after_denial]\nreasons = {json.dumps(NAMED)}"
HOSTILE = [
    None,
    7,
    {"a": 1},
    "Ona Example",
    "x" * 400,
    "DOC_TOO_BLURRY'; DROP TABLE job",
    "doc_too_blurry",
    "\u202eABC",
    "",
]
READER = IdenfyKycWebhooks(SimpleNamespace(name="kyc", webhook_keys=("key",)))
ENDED = (JobState.COMPLETED, "denied")


def body(session, overall, *reasons, final=True, minute=1, fraud=(), **status):
    at = int((session.issued_at + timedelta(minutes=minute)).timestamp())
    status = {"overall": overall, "denyReasons": list(reasons), "fraudTags": list(fraud), **status}
    return {"final": final, "scanRef": session.reference, "status": status, "finishTime": at}


def denied(session, *reasons, **how):
    return body(session, "DENIED", *reasons, **how)


class Desk:
    """A world whose customers are invited, and the provider's webhooks."""

    def __init__(self, world: World) -> None:
        self.world = world

    def receive(self, *given) -> None:
        for one in given:
            content, event = one if isinstance(one, tuple) else (one, "IDENTIFICATION_MANUAL_FINISHED")
            sent = json.dumps(content).encode()
            update = READER.read(Delivery(sent, {"idenfy-event-type": event}))
            keyring = self.world.parts.keyring
            digests = keyring.digests("webhook", sha256(sent + event.encode()).hexdigest())
            self.world.parts.webhooks.keep(
                [Arrived("account/kyc", digests, update.event, update_as_json(update))], now=self.world.clock()
            )
            Sweep(self.world.parts).process_webhooks(lambda _: None)

    def sessions(self, name: str):
        return self.world.rows(SessionRow, customer_id=name)

    def session(self, name: str):
        return max(self.sessions(name), key=lambda row: row.issued_at)

    def end(self, name: str):
        job = self.world.job(name)
        return job.state, job.result


@pytest.fixture
def desk(make):
    def prepare(follow_up: str = "most = 2", **how) -> Desk:
        return Desk(make(follow_up=f"{follow_up}\n{SECTION}", **how))

    return prepare


async def invited(desk: Desk, *customers) -> None:
    desk.world.add(*customers)
    await desk.world.work()


async def test_of_hundreds_of_webhooks_the_named_reasons_bring_one_more_session_and_the_others_none(desk):
    of = desk()
    drawn = random.Random(7)  # noqa: S311
    reasons = [*NAMED, *OTHERS]
    names = [f"C{number:03}" for number in range(24)]
    await invited(of, *(customer(name) for name in names))
    why = {name: reasons[number % 12] for number, name in enumerate(names)}
    feed, late = [], []
    for name in names:
        session, reason = of.session(name), why[name]
        auto = denied(session, *drawn.sample(HOSTILE, 3), NAMED[0], final=False, autoDocument=NAMED[1])
        last = denied(session, reason, *drawn.sample(HOSTILE, 3), mismatchTags=drawn.sample(HOSTILE, 2))
        over = body(session, "EXPIRED")
        begun = denied(session, NAMED[2], final=False, minute=2)
        own = [(auto, "IDENTIFICATION_AUTO_FINISHED"), (begun, "IDENTIFICATION"), last, last, (last, "IDENTIFICATION")]
        feed += [*own, *own]
        late.append((over, "IDENTIFICATION_EXPIRED"))
    drawn.shuffle(feed)
    feed += late
    assert len(feed) > 250
    for start in range(0, len(feed), 31):
        of.receive(*feed[start : start + 31])
        await of.world.work()
    for _ in range(3):
        of.world.clock.advance(days=1)
        await of.world.work()

    had = {name: len(of.sessions(name)) for name in names}
    assert had == {name: 2 if why[name] in NAMED else 1 for name in names}
    assert {of.end(name) for name in names if why[name] in OTHERS} == {ENDED}
    assert {of.world.job(name).state for name in names if why[name] in NAMED} == {JobState.INVITED}
    assert len(of.world.rows(InvitationRow)) == 24 + 8
    kept = {code for row in of.world.rows(SessionRow) for code in row.reasons.split()}
    assert kept <= {*reasons, "fraud:DOC_FAKE"}
    assert "A_NEW_CODE" in kept

    # The second sessions: approved, refused for a named reason again, and left alone. None brings a third.
    again = [name for name in names if had[name] == 2]
    verdicts = {0: ("APPROVED",), 1: ("DENIED", NAMED[0]), 2: None}
    for number, name in enumerate(again):
        verdict = verdicts[number % 3]
        if verdict:
            of.receive(body(of.session(name), *verdict), body(of.session(name), *verdict))
    of.receive(*feed[:50])
    for _ in range(10):
        of.world.clock.advance(days=1)
        await of.world.work()
    assert {len(of.sessions(name)) for name in again} == {2}
    ends = {number: {of.end(name) for name in again[number::3]} for number in range(3)}
    assert ends == {0: {(JobState.COMPLETED, "approved")}, 1: {ENDED}, 2: {ENDED}}


async def test_the_second_session_is_asked_for_with_all_that_the_row_says_and_its_link_leaves_in_the_rows_brand(make):
    desk = Desk(two_brands(make, f"most = 2\n{SECTION}"))
    bring_in(desk.world, "Ona")
    await desk.world.work()
    desk.receive(denied(desk.session("Ona"), NAMED[0]))
    for _ in range(3):
        await desk.world.work()
        desk.world.clock.advance(days=1)
    assert asked(desk.world) == [ASKED | {"clientId": "Ona"}] * 2
    assert brands(desk.world) == ["nova"] * 2


async def test_the_message_says_what_to_do_and_later_messages_are_reminders(desk):
    of = desk('most = 2\nreminders = ["1 day"]')
    await invited(of, customer("Ona", locale="de"))
    of.receive(denied(of.session("Ona"), "DOC_TOO_BLURRY"))
    await of.world.work()
    mail = of.world.senders["email"].messages[-1]
    assert "bei gutem Licht" in mail.text
    assert "gutem Licht" in mail.html
    of.world.clock.advance(days=1, hours=1)
    await of.world.work()
    texts = [one.text for one in of.world.senders["email"].messages]
    assert len(texts) == 3
    assert "gutem Licht" not in texts[-1]


async def test_a_final_decision_replaces_one_that_was_not(desk):
    of = desk()
    await invited(of, customer("Ona"), customer("Jonas"), customer("Eva"))
    for name in ("Ona", "Jonas", "Eva"):
        of.receive((denied(of.session(name), NAMED[0], final=False), "IDENTIFICATION_AUTO_FINISHED"))
    await of.world.work()
    assert [len(of.sessions(name)) for name in ("Ona", "Jonas", "Eva")] == [1, 1, 1]
    of.receive(denied(of.session("Ona"), "DOC_EXPIRED"), body(of.session("Jonas"), "APPROVED"))
    of.receive(denied(of.session("Eva"), "DOC_EXPIRED"), denied(of.session("Eva"), NAMED[0], minute=5))
    await of.world.work()
    assert of.end("Ona") == ENDED
    assert of.end("Jonas") == (JobState.COMPLETED, "approved")
    assert len(of.sessions("Eva")) == 2

    # Before its second session was opened the provider approves after all.
    of.receive(body(min(of.sessions("Eva"), key=lambda row: row.issued_at), "APPROVED", minute=9))
    await of.world.work()
    assert of.end("Eva") == (JobState.COMPLETED, "approved")
    assert of.session("Eva").state == "superseded"


async def test_a_tag_of_fraud_that_is_not_named_stands_against_another_session(desk):
    of = desk()
    await invited(of, customer("Ona"))
    of.receive(denied(of.session("Ona"), NAMED[0], fraud=["SOME_NEW_TAG"]))
    await of.world.work()
    assert of.end("Ona") == ENDED
    assert of.session("Ona").reasons == f"fraud:SOME_NEW_TAG {NAMED[0]}"


@pytest.mark.parametrize("cap", ["most = 0", "most = 1"])
async def test_who_has_had_all_sessions_or_messages_or_is_not_to_be_written_to_stays_refused(desk, cap):
    of = desk(cap)
    names = ("Ona", "Jonas", "Eva", "Vytas", "Rasa")
    await invited(of, *(customer(name) for name in names[:4]), customer("Rasa", channel=Channel.NONE))
    connection = of.world.parts.database.write
    with connection() as one:
        suppress(
            one,
            of.world.parts.keyring,
            "email",
            "jonas@example.org",
            SuppressionReason.MANUAL,
            source="test",
            now=of.world.clock(),
        )
    of.receive(*(denied(of.session(name), NAMED[0]) for name in names))
    with connection() as one:
        one.execute(
            sa.update(Job).where(Job.customer_id == "Vytas").values(cancelled_at=of.world.clock(), state="cancelled")
        )
    await of.world.work()
    had = {name: len(of.sessions(name)) for name in names}
    allowed = 2 if cap == "most = 1" else 1
    assert had == {"Ona": allowed, "Jonas": 1, "Eva": allowed, "Vytas": 1, "Rasa": 1}
    assert of.end("Jonas") == of.end("Rasa") == ENDED
    assert of.world.job("Vytas").state is JobState.CANCELLED
    assert of.end("Ona") == (ENDED if cap == "most = 0" else (JobState.INVITED, "denied"))


async def test_without_credits_the_second_session_waits_as_any_other(desk):
    of = desk(more="credits = 1")
    await invited(of, customer("Ona"))
    of.receive(denied(of.session("Ona"), NAMED[0]))
    await of.world.work()
    assert len(of.sessions("Ona")) == 1
    assert of.world.job("Ona").state is JobState.WAITING
    assert of.world.job("Ona").reason == "asked_again"


async def test_a_live_session_that_replaced_the_refused_one_is_the_one_more(desk):
    of = desk()
    await invited(of, customer("Ona"))
    first = of.session("Ona")
    of.receive((body(first, "EXPIRED"), "IDENTIFICATION_EXPIRED"))
    await of.world.work()
    second = of.session("Ona")
    assert second.id != first.id
    of.receive(denied(first, NAMED[0], minute=3))
    await of.world.work()
    assert (len(of.sessions("Ona")), of.session("Ona").state) == (2, "waiting")
    of.receive(body(second, "APPROVED"))
    assert of.end("Ona") == (JobState.COMPLETED, "approved")


class TwoLists:
    """A customer in two lists who was invited by the first."""

    def __init__(self, of: Desk, **second) -> None:
        self.of, self.world, self.decisions = of, of.world, of.world.parts.decisions
        self.first, self.second = self.world.add(customer("Ona")), self.world.add(customer("Ona", **second))

    def refuse(self) -> None:
        self.of.receive(denied(self.of.session("Ona"), NAMED[0]))

    def cancel(self) -> None:
        self.decisions.cancel(self.first, now=self.world.clock())

    def end(self):
        job = self.world.row(Job, batch_id=self.second)
        return job.state, job.result

    async def pass_days(self, count: int) -> None:
        for _ in range(count):
            self.world.clock.advance(days=1)
            await self.world.work()

    @property
    def sessions(self) -> int:
        return len(self.of.sessions("Ona"))


@pytest.mark.both_databases
@pytest.mark.parametrize("joined_early", [True, False])
async def test_a_list_that_takes_the_second_session_over_asks_no_third_time(desk, joined_early):
    lists = TwoLists(desk("most = 3"))
    await lists.world.work()
    lists.refuse()
    if not joined_early:
        lists.decisions.cancel(lists.second, now=lists.world.clock())
    await lists.world.work()
    lists.cancel()
    if not joined_early:
        lists.second = lists.world.add(customer("Ona"))
    await lists.world.work()
    assert (lists.end()[0], lists.sessions) == (JobState.INVITED, 2)
    await lists.pass_days(9)
    assert (lists.end(), lists.sessions) == (ENDED, 2)


@pytest.mark.both_databases
@pytest.mark.parametrize(
    ("most", "channel", "left", "sessions"),
    [(3, Channel.EMAIL, JobState.INVITED, 2), (0, Channel.EMAIL, ENDED[0], 1), (3, Channel.NONE, ENDED[0], 1)],
)
async def test_a_list_that_takes_over_before_the_second_session_asks_as_the_first_would_have(
    desk, most, channel, left, sessions
):
    lists = TwoLists(desk(f"most = {most}"), channel=channel)
    await lists.world.work()
    lists.refuse()
    if most:
        lists.world.look_after()
        assert lists.world.row(Job, batch_id=lists.first).reason == "asked_again"
    lists.cancel()
    await lists.world.work()
    assert (lists.end(), lists.sessions) == ((left, "denied"), sessions)
    texts = [one.text for one in lists.world.senders["email"].messages[1:]]
    assert ["good light" in text for text in texts] == [True] * (sessions - 1)
    await lists.pass_days(9)
    assert (lists.end(), lists.sessions) == (ENDED, sessions)


async def test_a_second_link_that_has_ended_before_the_takeover_is_the_last(desk):
    lists = TwoLists(desk("most = 3"))
    await lists.world.work()
    lists.refuse()
    await lists.world.work()
    lists.world.clock.advance(seconds=(lists.of.session("Ona").expires_at - lists.world.clock()).total_seconds() + 1)
    lists.cancel()
    await lists.pass_days(1)
    assert (lists.end(), lists.sessions) == (ENDED, 2)


@pytest.mark.both_databases
@pytest.mark.parametrize(("channel", "left"), [(Channel.EMAIL, 2), (Channel.NONE, 1)])
async def test_a_list_that_takes_a_stopped_lists_lead_asks_once_and_one_without_messages_does_not(desk, channel, left):
    lists = TwoLists(desk("most = 3"), channel=channel)
    await lists.world.work()
    lists.refuse()
    lists.world.look_after()
    lists.decisions.interrupt(lists.first, by="ann", now=lists.world.clock())
    lists.decisions.take_leads(lists.second, stopped_only=True, now=lists.world.clock())
    await lists.world.work()
    assert lists.sessions == left
    texts = [one.text for one in lists.world.senders["email"].messages[1:]]
    assert ["good light" in text for text in texts] == [True] * (left - 1)
    await lists.pass_days(9)
    assert lists.sessions == left
    assert left == 1 or lists.end() == ENDED
