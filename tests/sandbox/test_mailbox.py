"""The sandbox's mailbox: what it keeps, what it refuses, and its faults."""

import email.policy
from email.message import EmailMessage

import aiosmtplib
import pytest

from onboarding_sandbox import SmtpFault


def mail(to: str = "jonas@example.com", number: int = 1) -> EmailMessage:
    message = EmailMessage(policy=email.policy.SMTP)
    message["From"] = "Bank <verify@example.com>"
    message["To"] = to
    message["Subject"] = "Jūsų tapatybė"
    message["Message-ID"] = f"<{number}@example.com>"
    message.set_content("Sveiki, Jonai\n")
    message.add_alternative("<p>Sveiki, <b>Jonai</b></p>\n", subtype="html")
    return message


@pytest.fixture
async def smtp(start):
    """Starts a sandbox with options and connects to its mailbox; gives both."""
    clients = []

    async def connect(*faults: str, **options):
        caller = await start(smtp_faults=tuple(SmtpFault.parse(text) for text in faults), seed=7, **options)
        client = aiosmtplib.SMTP(hostname="127.0.0.1", port=caller.sandbox.smtp_port, start_tls=False, timeout=5)
        await client.connect()
        clients.append(client)
        return caller, client

    yield connect
    for client in clients:
        client.close()


async def test_a_message_is_kept_with_its_envelope_headers_and_parts(smtp, clock):
    caller, client = await smtp()
    await client.send_message(mail())

    (received,) = caller.sandbox.mailbox
    assert (received.n, received.at, received.sender) == (1, clock.now, "verify@example.com")
    assert received.recipients == ("jonas@example.com",)
    assert received.message_id == "<1@example.com>"
    assert received.subject == "Jūsų tapatybė"
    assert received.headers["From"] == "Bank <verify@example.com>"
    assert received.text.splitlines() == ["Sveiki, Jonai"]
    assert received.html.splitlines() == ["<p>Sveiki, <b>Jonai</b></p>"]


async def test_a_message_is_in_the_log(smtp):
    caller, client = await smtp()
    await client.send_message(mail())
    (entry,) = caller.sandbox.log
    assert (entry["n"], entry["endpoint"], entry["status"], entry["fault"]) == (1, "smtp", 250, None)
    assert (entry["processed"], entry["message_id"], entry["to"]) == (True, "<1@example.com>", ["jonas@example.com"])


async def test_a_message_without_an_id_or_a_body_is_kept_too(smtp):
    caller, client = await smtp()
    await client.sendmail("a@example.com", ["b@example.com"], b"Subject: hello\r\n\r\n")
    (received,) = caller.sandbox.mailbox
    assert (received.message_id, received.subject, received.html) == (None, "hello", None)


async def test_an_id_in_the_body_is_not_the_messages(smtp):
    caller, client = await smtp()
    await client.sendmail("a@example.com", ["b@example.com"], b"Subject: x\r\n\r\nMessage-ID: <fake@example.com>\r\n")
    assert caller.sandbox.mailbox[0].message_id is None


async def test_several_messages_go_over_one_connection(smtp):
    caller, client = await smtp()
    for number in range(5):
        await client.send_message(mail(number=number))
    assert [received.message_id for received in caller.sandbox.mailbox] == [f"<{n}@example.com>" for n in range(5)]


async def test_a_fault_refuses_a_recipient_or_a_message_or_drops_the_connection(smtp, subtests):
    for kind, raised, status, message_id, kept in [
        ("450", aiosmtplib.SMTPRecipientsRefused, 450, None, 0),
        ("550", aiosmtplib.SMTPRecipientsRefused, 550, None, 0),
        ("451", aiosmtplib.SMTPDataError, 451, "<1@example.com>", 0),
        ("drop-before", aiosmtplib.SMTPServerDisconnected, "dropped", None, 0),
        ("drop-after", aiosmtplib.SMTPServerDisconnected, "dropped", "<1@example.com>", 1),
    ]:
        with subtests.test(kind=kind):
            caller, client = await smtp(f"{kind}:1")
            with pytest.raises(raised) as refused:
                await client.send_message(mail())
            if isinstance(refused.value, aiosmtplib.SMTPRecipientsRefused):
                assert refused.value.recipients[0].code == status
            if isinstance(refused.value, aiosmtplib.SMTPDataError):
                assert refused.value.code == status
            (entry,) = caller.sandbox.log
            assert (entry["status"], entry["fault"], entry["processed"]) == (status, kind, bool(kept))
            assert (entry["to"], entry["message_id"]) == (["jonas@example.com"], message_id)
            assert [received.message_id for received in caller.sandbox.mailbox] == [message_id] * kept


async def test_the_same_seed_refuses_the_same_messages(smtp):
    async def outcomes() -> list[int]:
        caller, client = await smtp("451:0.5")
        for number in range(30):
            try:
                await client.send_message(mail(number=number))
            except aiosmtplib.SMTPDataError:
                continue
        return [entry["status"] for entry in caller.sandbox.log]

    first = await outcomes()
    assert set(first) == {250, 451}
    assert first == await outcomes()


async def test_one_address_can_be_refused_for_good(smtp):
    caller, client = await smtp(smtp_refused=frozenset({"Nobody@example.com"}))
    with pytest.raises(aiosmtplib.SMTPRecipientsRefused) as refused:
        await client.send_message(mail("nobody@Example.com"))
    assert refused.value.recipients[0].code == 550
    await client.send_message(mail())
    assert [entry["status"] for entry in caller.sandbox.log] == [550, 250]


async def test_without_the_required_login_no_mail_is_accepted(smtp):
    caller, client = await smtp(smtp_user="u", smtp_password="p")
    with pytest.raises(aiosmtplib.SMTPSenderRefused) as refused:
        await client.send_message(mail())
    assert refused.value.code == 530
    assert len(caller.sandbox.mailbox) == 0


async def test_a_wrong_login_is_refused(smtp):
    caller, client = await smtp(smtp_user="u", smtp_password="p")
    with pytest.raises(aiosmtplib.SMTPAuthenticationError) as refused:
        await client.login("u", "wrong")
    assert refused.value.code == 535
    assert caller.sandbox.log[0]["status"] == 535


async def test_with_the_right_login_mail_is_accepted(smtp):
    caller, client = await smtp(smtp_user="u", smtp_password="p")
    await client.login("u", "p")
    await client.send_message(mail())
    assert len(caller.sandbox.mailbox) == 1


async def test_the_mailbox_is_served_as_json(smtp):
    caller, client = await smtp()
    await client.send_message(mail("a@example.com", 1))
    await client.send_message(mail("b@example.com", 2))

    _, _, everything = await caller.ask("GET", "/_sandbox/mailbox")
    assert [one["to"] for one in everything] == [["a@example.com"], ["b@example.com"]]
    assert everything[0]["from"] == "verify@example.com"
    assert everything[0].keys() >= {"to", "from", "subject", "message_id", "text", "html"}

    _, _, filtered = await caller.ask("GET", "/_sandbox/mailbox", params={"to": "b@example.com"})
    assert [one["n"] for one in filtered] == [2]


async def test_one_message_can_be_read_in_a_browser(smtp):
    caller, client = await smtp()
    hostile = EmailMessage()
    hostile["Subject"] = "<script>alert(1)</script>"
    hostile.set_content("<script>alert(2)</script>")
    hostile.add_alternative('"><script>alert(3)</script>', subtype="html")
    await client.send_message(hostile, sender="a@example.com", recipients=["b@example.com"])

    status, headers, page = await caller.ask("GET", "/_sandbox/mailbox/1")
    assert status == 200
    assert "<script" not in page
    assert '<iframe sandbox="allow-popups allow-popups-to-escape-sandbox" ' in page
    assert "default-src 'none'" in headers["Content-Security-Policy"]


async def test_one_message_can_be_requested_as_json(smtp):
    caller, client = await smtp()
    await client.send_message(mail())
    _, _, body = await caller.ask("GET", "/_sandbox/mailbox/1", headers={"Accept": "application/json"})
    assert body["message_id"] == "<1@example.com>"


@pytest.mark.parametrize("n", ["0", "1", "999999999"])
async def test_a_message_that_is_not_there_is_404(caller, n):
    assert (await caller.ask("GET", f"/_sandbox/mailbox/{n}"))[0] == 404
