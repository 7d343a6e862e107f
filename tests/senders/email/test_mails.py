"""What the email sender hands over: the mail, its addresses, and what is told of it."""

from onboarding_worker.core.model.endings import Kind
from onboarding_worker.senders.contract import Receipt, Returning


async def test_a_repeat_carries_the_same_message_id(relay, email, message):
    sender = email()
    await sender.send(message())
    await sender.send(message())

    ids = [line for body in relay.messages for line in body.split(b"\r\n") if line.startswith(b"Message-ID")]
    assert ids == [b"Message-ID: <0197f3-invitation-email@bank.example>"] * 2


async def test_a_mail_comes_back_to_an_address_of_its_own_where_there_is_one(relay, email, message):
    def returning(key: str) -> Returning:
        return Returning(f"back+{key}@bounce.example.com", ("X-Back: yes",))

    for how in ({"returning": returning}, {}):
        await email(**how).send(message())
    froms = [sender.partition("<")[2].partition(">")[0] for sender, _ in relay.envelopes]
    assert froms == ["back+0197f3-invitation-email@bounce.example.com", "verify@bank.example"]
    assert [b"\r\nX-Back: yes\r\n" in body for body in relay.messages] == [True, False]


async def test_the_receipt_names_the_relays_queue_id(email, message):
    assert await email().send(message()) == Receipt("4F8xY2")


async def test_what_a_server_quotes_of_a_customer_is_masked(relay, email, message):
    relay.script["RCPT"].append(
        "550 5.1.1 <maria.lopez@customer.example>: user maria.lopez (Lopez, Maria, +49 170 1234567) "
        "unknown, see https://verify.example.com/s?t=t0k3n or mailto:maria@x.example " + "blah " * 100
    )

    problem = await email().send(message())

    for secret in ("maria", "lopez", "1234567", "t0k3n", "customer.example"):
        assert secret not in problem.words.lower()
    assert "unknown" in problem.words
    assert len(problem.words) < 220
    assert problem.detail == "SMTP 550 5.1.1 at RCPT TO"
    assert "unknown" not in repr(problem)


async def test_what_is_no_bare_address_never_reaches_the_relay(relay, email, message, subtests):
    cases = [
        "",
        "maria",
        "maria@",
        "maria@customer.example>\r\nRCPT TO:<other@customer.example",
        "maria@customer.example\r\nBcc: other@customer.example",
        "Maria <maria@customer.example>",
        "a@customer.example,b@customer.example",
        "maria@customer.example SMTPUTF8",
        '"a b"@customer.example',
    ]
    for address in cases:
        with subtests.test(address=address):
            problem = await email().send(message(to=address))

            assert problem.kind is Kind.BAD_INPUT
            assert relay.connections == 0


async def test_an_international_domain_goes_out_as_punycode(relay, email, message):
    answer = await email().send(message(to="maria@bücher.example"))

    assert isinstance(answer, Receipt)
    assert relay.envelopes[0][1] == "RCPT TO:<maria@xn--bcher-kva.example>"
    assert b"\r\nTo: maria@xn--bcher-kva.example\r\n" in relay.messages[0]


async def test_an_international_local_part_is_sent_if_the_relay_accepts_it(relay, email, message):
    relay.extensions.append("SMTPUTF8")

    answer = await email().send(message(to="josé@bücher.example"))

    assert isinstance(answer, Receipt)
    assert relay.envelopes[0] == ("MAIL FROM:<verify@bank.example> SMTPUTF8", "RCPT TO:<josé@xn--bcher-kva.example>")


async def test_an_international_local_part_is_refused_where_the_relay_cannot_and_the_next_goes_out(
    relay, email, message
):
    sender = email()

    problem = await sender.send(message(to="josé@customer.example"))
    answer = await sender.send(message())

    assert problem.kind is Kind.BAD_INPUT
    assert isinstance(answer, Receipt)
    assert relay.connections == 1
