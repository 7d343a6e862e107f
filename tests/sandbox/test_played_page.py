"""The page behind a session's link in the sandbox: a person plays the customer by its buttons."""

import json

import pytest

from tests.sandbox.customers import ENTITY, done, sent
from worker.settings.starter import sandbox_starter

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
    assert json.loads(webhook.body)["status"]["overall"] == overall
    assert "Done:" in (await page_of(caller, token))[2]


async def test_who_starts_and_leaves_causes_nothing_before_the_link_ends(begin):
    caller = await begin()
    await press(caller, await opened(caller), "leave")

    assert sent(caller) == []


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
    text = sandbox_starter(port=9200, smtp_port=9225)
    assert text.count('link = "http://127.0.0.1:9200/verify/{token}"') == text.count("provider = ") == 5
    caller = await begin()
    _, _, session = await caller.frankieone(entity=ENTITY)

    assert (await page_of(caller, session["token"]))[0] == 200
