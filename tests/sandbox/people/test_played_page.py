"""The page behind a session's link in the sandbox: a person plays the customer by its buttons."""

import asyncio

import pytest

from onboarding_sandbox import Sandbox, SandboxOptions
from onboarding_sandbox.people.customers import Instruction
from onboarding_worker.cli.commands.init import starter
from onboarding_worker.http import event_loop
from tests.sandbox.customers import ENTITY, KYC, basic, done, sent
from tests.simulated.virtual_time import VirtualLoop

TOKEN = ("POST", f"http://x{KYC}", basic() | {"Content-Type": "application/json"}, b'{"clientId": "c-1"}')
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


async def press(caller, token, does):
    return await caller.ask("POST", f"/verify/{token}", headers=FORM, data=f"does={does}".encode())


async def opened(caller):
    """The token of a new session of iDenfy's."""
    return (await caller.idenfy({"clientId": "c-1", "externalRef": "job-1"}))[2]["authToken"]


async def page_of(caller, token):
    return await caller.ask("GET", f"/verify/{token}")


async def test_the_page_is_marked_has_four_buttons_and_no_script(begin):
    caller = await begin()
    status, headers, text = await page_of(caller, await opened(caller))

    assert status == 200
    assert "Sandbox: no real verification" in text
    assert all(f'value="{name}"' in text for name in ("pass", "deny", "leave", "expire"))
    assert "<script" not in text
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert '<html lang="en">' in text


@pytest.mark.parametrize(
    ("button", "event"),
    [
        ("pass", "IDENTIFICATION_AUTO_FINISHED"),
        ("deny", "IDENTIFICATION_AUTO_FINISHED"),
        ("expire", "IDENTIFICATION_EXPIRED"),
    ],
)
async def test_a_button_does_what_a_customer_does_and_only_once(begin, receiver, button, event):
    caller = await begin()
    token = await opened(caller)
    await press(caller, token, button)
    await press(caller, token, "deny")
    await done(caller)

    (webhook,) = receiver.received
    assert webhook.headers["idenfy-event-type"] == event
    overall = {"pass": "APPROVED", "deny": "DENIED", "expire": "EXPIRED"}[button]
    assert webhook.fields["status"]["overall"] == overall
    assert "Done:" in (await page_of(caller, token))[2]


@pytest.mark.parametrize(("elsewhere", "said"), [(False, "the answer was 200"), (True, "unreachable")])
async def test_the_page_says_whether_the_webhook_was_answered(begin, elsewhere, said):
    caller = await begin(**({"webhooks": {"": "http://127.0.0.1:1/webhooks"}} if elsewhere else {}))
    token = await opened(caller)
    await press(caller, token, "pass")
    await done(caller)
    assert said in (await page_of(caller, token))[2]


async def test_who_starts_and_leaves_causes_nothing_before_the_link_ends(begin):
    caller = await begin()
    await press(caller, await opened(caller), "leave")

    assert sent(caller) == []


async def test_who_has_left_may_come_back_and_press_another_button(begin):
    caller = await begin(time_scale=1.0)
    token = await opened(caller)
    await press(caller, token, "leave")
    text = (await page_of(caller, token))[2]
    assert "Done: Start and leave." in text
    assert [f'value="{name}"' in text for name in ("pass", "deny", "leave", "expire")] == [True, True, False, True]

    await press(caller, token, "pass")
    text = (await page_of(caller, token))[2]
    assert "Done: Pass." in text
    assert 'value="' not in text


def test_the_end_of_a_link_is_not_reported_of_who_came_back_and_finished():
    loop, webhooks = VirtualLoop(), []

    def take(webhook, _headers):
        webhooks.append(webhook.event)
        return 200

    async def live():
        options = SandboxOptions(webhooks={"": "https://worker.example.com"}, clock=loop.clock)
        sandbox = Sandbox(options, taker=take)
        assert sandbox.answer(*TOKEN).status == 201
        session = sandbox.customers.sessions[0]
        sandbox.customers.instruct(session, Instruction("open"))
        await asyncio.sleep(60)
        sandbox.customers.instruct(session, Instruction("finish"))
        await sandbox.idle()
        await sandbox.stop()

    event_loop.run(live(), lambda: loop)
    assert webhooks == ["IDENTIFICATION_AUTO_FINISHED"]


async def test_an_unknown_link_an_unknown_button_and_an_expired_link_do_nothing(begin, clock):
    caller = await begin()
    token = await opened(caller)

    assert (await page_of(caller, "nothing"))[0] == 404
    assert (await page_of(caller, "c-1"))[0] == 404  # a customer's id is no link
    assert (await press(caller, token, "win"))[0] == 400
    clock.forward(days=40)
    assert (await page_of(caller, token))[0] == 410
    await press(caller, token, "pass")
    assert sent(caller) == []


async def test_every_account_of_the_sandboxs_configuration_links_to_the_page(begin):
    text = starter("sandbox.toml", port=9200, smtp_port=9225)
    assert text.count('link = "http://127.0.0.1:9200/verify/{token}"') == text.count("provider = ") == 5
    caller = await begin()
    _, _, session = await caller.frankieone(entity=ENTITY)

    assert (await page_of(caller, session["token"]))[0] == 200
