"""POST /callbacks/SENDER over a real socket: what Twilio and mail systems tell, each signed in its own way."""

import asyncio
import base64
import json
import uuid
from urllib.parse import urlencode

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.tables import Audit, Suppression, Webhook
from onboarding_worker.core.model.customers import Person
from onboarding_worker.web import strangers
from tests.features.delivery.sns import CERTIFICATE_URL, HOST, PEM, TOPIC, confirmation, notification
from tests.hostile.genuine import twilio
from tests.hostile.served import at_once
from tests.stored.shelf import Shelf, customer
from tests.web.described import check_answer
from tests.web.site import FIRST, HOOKS, Answer, until

pytestmark = pytest.mark.both_databases

STOPPED = {"From": "+37060000001", "Body": "STOP", "MessageSid": "SM1", "SmsStatus": "received"}
BOUNCED = {"type": "bounced", "email": "ona@example.com"}
OPENED = {"type": "opened", "email": "ona@example.com"}


def form(fields, **how):
    body = urlencode(fields).encode()
    return body, twilio(body, **how)


async def send(site, sender, body, headers):
    async with site.client.post(f"/callbacks/{sender}", data=body, headers=headers) as response:
        if response.status == 204:
            assert await response.read() == b""
            return Answer(204, response.headers, None)
        answer = await Answer.of(response)
    check_answer("post", "/callbacks/{sender}", answer)
    return answer


def mail(site, body, **how):
    headers = {name.replace("_", "-"): value for name, value in site.signed(body, **how).items()}
    return body, headers


def rows(site, model):
    with site.parts.database.read() as connection:
        return connection.execute(sa.select(model.__table__)).all()


async def test_who_answers_stop_is_not_written_to_any_more_and_twilio_is_answered_without_a_body(start, url):
    site = await start(url)
    for _ in range(2):
        assert (await send(site, "sms", *form(STOPPED))).status == 204
    await until(lambda: rows(site, Suppression))
    (row,) = rows(site, Webhook)
    assert (row.source, row.encrypted) == ("sender/sms", None)
    assert rows(site, Suppression)[0].source == "sender/sms"
    assert "+37060000001" not in repr(rows(site, Suppression))
    (entry,) = rows(site, Audit)
    assert (entry.actor, entry.subject, entry.reason) == ("sender/sms", "an address of no customer", "stopped")


async def test_who_answers_stop_is_named_in_the_audit_log_as_are_others_with_the_number(start, sqlite_url):
    site = await start(sqlite_url)
    shelf = Shelf(site.parts.database, site.parts.keyring, site.parts.clock)
    shelf.add(customer("Ona"), customer("Jonas"), customer("Rasa", person=Person(email="Rasa.K@example.org")))
    assert (await send(site, "sms", *form(STOPPED))).status == 204
    complained = {"type": "complained", "email": "rasa.k@EXAMPLE.org"}
    assert (await send(site, "email", *mail(site, json.dumps(complained).encode()))).status == 200
    await until(lambda: len(rows(site, Suppression)) == 2)
    entries = [(row.actor, row.subject, row.reason) for row in rows(site, Audit) if row.action == "webhook"]
    assert sorted(entries) == [
        ("sender/email", "customer Rasa", "complained"),
        ("sender/sms", "customer Jonas", "stopped"),
        ("sender/sms", "customer Ona", "stopped"),
    ]


async def test_each_of_twilios_keys_is_believed_while_they_are_changed_and_then_the_token_is_not(start, sqlite_url):
    site = await start(sqlite_url, sms='callback_key = [{ env = "OLD_HOOK" }, { env = "FIRST" }]')
    for key in (HOOKS["OLD_HOOK"], FIRST):
        assert (await send(site, "sms", *form(STOPPED, key=key))).status == 204
    assert (await send(site, "sms", *form(STOPPED))).status == 401


async def test_a_copy_of_a_genuine_answer_written_in_another_way_is_the_same_answer(site):
    body, headers = form(STOPPED)
    copies = [
        urlencode(list(reversed(STOPPED.items()))).encode(),
        body.replace(b"STOP", b"%53TOP"),
        body + b"&Body=STOP",
    ]
    for one in (body, *copies):
        assert (await send(site, "sms", one, headers)).status == 204
    assert len(rows(site, Webhook)) == 1


async def test_what_a_mail_system_tells_is_applied_and_two_bounces_of_the_same_words_are_two(start, url):
    site = await start(url)
    body = json.dumps(BOUNCED).encode()
    first, again = mail(site, body), mail(site, body, webhook_id="msg_2")
    answers = [await send(site, "email", *one) for one in (first, first, again)]
    assert [answer.body["state"] for answer in answers] == ["taken", "duplicate", "taken"]
    await until(lambda: rows(site, Suppression))
    assert rows(site, Suppression)[0].reason == "bounce"


@pytest.mark.parametrize(
    ("sender", "made", "status"),
    [
        ("sms", lambda _: form(STOPPED, key="another"), 401),
        ("sms", lambda _: form({**STOPPED, "Body": "x" * 65536}), 413),
        ("email", lambda site: mail(site, b"{}", key=b"another"), 401),
        ("pigeon", lambda _: (b"{}", {}), 404),
    ],
)
async def test_callbacks_of_strangers_are_refused_and_not_stored(site, sender, made, status):
    assert (await send(site, sender, *made(site))).status == status
    assert rows(site, Webhook) == []


async def test_what_says_nothing_of_use_is_kept_as_that(site):
    sent = {"MessageSid": "SM1", "MessageStatus": "sent"}
    assert (await send(site, "sms", *form(sent))).status == 204
    assert (await send(site, "email", *mail(site, json.dumps(OPENED).encode(), key=FIRST.encode()))).status == 200
    assert [(row.state, row.encrypted) for row in rows(site, Webhook)] == [("ignored", None)] * 2


async def test_a_mail_system_learns_what_is_wrong_with_its_report(site, subtests):
    for body, why in [
        (b"[1]", "the body is not a JSON object"),
        (b"xx", "the body is not JSON at character 1"),
        (b"", "the body is not JSON at character 1"),
        (b"{}", "type is missing"),
        (json.dumps(BOUNCED | {"type": ["ona"]}).encode(), "type is not a text"),
        (json.dumps(BOUNCED | {"permanent": "yes"}).encode(), "permanent is neither true nor false"),
        (json.dumps(BOUNCED | {"message_id": 7}).encode(), "message_id is not a text"),
        (json.dumps({"type": "bounced"}).encode(), "it names neither message_id nor email"),
    ]:
        with subtests.test(body=body, why=why):
            assert (await send(site, "email", *mail(site, body))).problem(400) == why
            assert rows(site, Webhook) == []


async def test_a_report_of_another_type_is_accepted_and_ignored(site):
    body = json.dumps(OPENED).encode()
    for number in (1, 2):
        assert (await send(site, "email", *mail(site, body, webhook_id=f"msg_{number}"))).body["state"] == "taken"
    assert [row.state for row in rows(site, Webhook)] == ["ignored"] * 2


NAMED = f"{HOST}/SimpleNotificationService"
TOPIC_OF_SES = f'[delivery.ses]\ntopics = ["{TOPIC}"]'
GONE = {"bounceType": "Permanent", "bouncedRecipients": [{"status": "5.1.1", "diagnosticCode": "550 5.1.1 unknown"}]}


async def test_ses_posts_through_a_topic_whose_subscription_is_confirmed_and_a_copy_is_a_copy(start, sqlite_url):
    asked = []

    async def amazon(url):
        asked.append(url)
        return PEM

    site = await start(sqlite_url, reports=TOPIC_OF_SES, fetch=amazon)
    headers = {"x-amz-sns-topic-arn": TOPIC, "Content-Type": "text/plain; charset=UTF-8"}
    assert (await send(site, "email", confirmation(Token="0" * 80), headers)).status == 401
    assert (await send(site, "email", confirmation(), headers)).status == 200
    bounce = notification("Bounce", GONE, f"<{uuid.uuid4().hex}@example.com>")
    assert [(await send(site, "email", bounce, headers)).status for _ in range(2)] == [200, 200]
    assert (await send(site, "email", bounce, headers | {"x-amz-sns-topic-arn": "x"})).status == 401
    assert [url.partition("?")[0] for url in asked] == [CERTIFICATE_URL, f"{HOST}/"]
    assert sorted(row.event for row in rows(site, Webhook)) == ["Bounce", "subscribed"]


async def test_a_message_of_sns_under_another_id_is_a_copy_as_long_as_its_signature_fits(start, sqlite_url):
    """What SNS signs has no marks between a field's value and the next field's name but line breaks."""

    async def amazon(_url):
        return PEM

    site = await start(sqlite_url, reports=TOPIC_OF_SES, fetch=amazon)
    subject = "Amazon SES Email Event Notification"
    bounce = notification("Bounce", GONE, f"<{uuid.uuid4().hex}@example.com>", subject=subject)
    altered = json.loads(bounce)
    altered["MessageId"] += f"\nSubject\n{altered.pop('Subject')}"
    answers = [
        await send(site, "email", body, {"x-amz-sns-topic-arn": TOPIC}) for body in (bounce, json.dumps(altered))
    ]
    assert [(one.status, one.body["state"]) for one in answers] == [(200, "taken"), (200, "duplicate")]
    assert len(rows(site, Webhook)) == 1


async def test_while_amazon_does_not_answer_sns_is_asked_to_send_again(start, sqlite_url):
    async def silent(url):
        return None

    site = await start(sqlite_url, reports=TOPIC_OF_SES, fetch=silent)
    answer = await send(site, "email", confirmation(), {"x-amz-sns-topic-arn": TOPIC})
    assert "certificate" in answer.problem(503)
    assert answer.headers["Retry-After"]


async def test_strangers_who_make_up_certificates_do_not_keep_amazons_own_from_being_fetched(
    start, sqlite_url, monkeypatch
):
    asked = []

    async def amazon(url):
        asked.append(url)
        await asyncio.sleep(0.01)
        return PEM if url == CERTIFICATE_URL else None

    async def flood(stranger):
        for number in range(10):
            made_up = notification("Bounce", GONE, "<1@example.com>", SigningCertURL=f"{NAMED}-{stranger}{number}.pem")
            statuses.add((await send(site, "email", made_up, of(f"2001:db8:7:{stranger}::1"))).status)

    def of(address):
        return {"x-amz-sns-topic-arn": TOPIC, "X-Forwarded-For": address}

    monkeypatch.setattr(strangers, "wait", at_once)
    proxy = '[web]\ntrusted_proxies = ["127.0.0.1"]\n'
    site, statuses = await start(sqlite_url, reports=TOPIC_OF_SES, fetch=amazon, keys=proxy), set()
    floods = [asyncio.create_task(flood(stranger)) for stranger in range(50)]
    await until(lambda: len(asked) > 20)
    bounce = notification("Bounce", GONE, f"<{uuid.uuid4().hex}@example.com>")
    assert (await send(site, "email", bounce, of("192.0.2.1"))).status == 200
    before = len(asked)
    assert (await send(site, "email", confirmation(), of("192.0.2.1"))).status == 503  # `amazon` confirms nothing
    assert len(asked) - before < 5
    for one in floods:
        one.cancel()
    assert statuses == {503}


async def test_postmark_says_that_a_person_wants_no_more_mails(start, sqlite_url):
    site = await start(sqlite_url, reports='[delivery.postmark]\nkeys = [{ env = "FIRST" }]')
    change = {"RecordType": "SubscriptionChange", "Recipient": "ona@example.com", "SuppressSending": True}
    body = json.dumps(change | {"SuppressionReason": "ManualSuppression", "Metadata": {}}).encode()
    password = base64.b64encode(f"postmark:{FIRST}".encode()).decode()
    assert (await send(site, "email", body, {"Authorization": "Basic bm86bm8="})).status == 401
    assert (await send(site, "email", body, {"Authorization": f"Basic {password}"})).status == 200
    await until(lambda: rows(site, Suppression))
