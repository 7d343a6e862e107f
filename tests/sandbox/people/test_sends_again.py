"""The sandbox repeats a webhook that was not accepted, as often as the provider would."""

from tests.sandbox.customers import ENTITY, all_customers, customer, done, instruct, sent


async def test_idenfy_repeats_a_webhook_that_was_not_accepted(begin, receiver):
    caller = await begin(**all_customers("finish"))
    receiver.answers = [500, 301, 401]
    await customer(caller)
    assert [(entry["status"], entry["attempt"]) for entry in sent(caller)] == [(500, 1), (301, 2), (401, 3), (200, 4)]
    assert len({webhook.body for webhook in receiver.received}) == 1


async def test_it_gives_up_after_some_attempts(begin, receiver):
    caller = await begin(**all_customers("finish"))
    receiver.answers = [503] * 100
    await customer(caller)
    assert [entry["attempt"] for entry in sent(caller)] == [1, 2, 3, 4, 5]


async def test_frankieone_repeats_fifty_times_but_not_after_a_400(begin, receiver):
    caller = await begin()
    receiver.answers = [500] * 200
    await caller.frankieone()
    await instruct(caller, session=ENTITY, does="finish")
    await done(caller)
    for event in ("OCR_PROCESSED", "RESULTS_RETRIEVED"):
        assert [entry["attempt"] for entry in sent(caller) if entry["event"] == event] == list(range(1, 52))
    receiver.received.clear()
    receiver.answers = [400, 400]
    await instruct(caller, session=ENTITY, does="finish")
    await done(caller)
    assert len(receiver.received) == 2


async def test_an_unreachable_receiver_is_in_the_log_too(begin):
    caller = await begin(webhooks={"": "http://127.0.0.1:9"}, **all_customers("finish"))
    await customer(caller)
    assert {entry["status"] for entry in sent(caller)} == {"unreachable"}
