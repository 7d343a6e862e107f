"""The sandbox's FrankieOne hosted page: a new address each time, one entity for each customer of ours."""

from datetime import datetime, timedelta

from tests.sandbox.customers import FRANKIEONE

PATH = "/frankieone/v2/individuals/hostedurl"


async def asked(caller, body, path=PATH):
    status, _, found = await caller.frankieone(body, path=path)
    return status, found


async def test_each_call_makes_another_address_for_the_same_entity(caller, clock):
    _, first = await asked(caller, {"customerRef": "C-1"})
    _, second = await asked(caller, {"customerRef": "C-1"}, PATH.replace("url", "Url"))
    _, other = await asked(caller, {"customerRef": "C-2"})

    assert first["url"] != second["url"]
    assert first["entityId"] == second["entityId"] != other["entityId"]
    assert datetime.fromisoformat(first["urlExpiry"]) == clock.now + timedelta(days=7)


async def test_what_the_real_one_refuses_is_refused(caller, subtests):
    for body, status in [
        ({}, 400),
        ({"customerRef": 7}, 400),
        ({"entityId": "no-uuid"}, 400),
        ({"customerRef": "C-1", "sendSMS": "no"}, 400),
        ({"customerRef": "C-1", "requestedDocuments": "PASSPORT"}, 400),
        ({"customerRef": "C-1", "successRedirectURL": "http://bank.example"}, 403),
    ]:
        with subtests.test(body=body, status=status):
            assert (await asked(caller, body))[0] == status


async def test_a_wrong_key_is_refused(caller):
    assert (await caller.frankieone(path=PATH, headers={**FRANKIEONE, "api_key": "x"}))[0] == 401
