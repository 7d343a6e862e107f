"""The sandbox sends a webhook again that was not taken, as often as the provider would."""

from tests.sandbox.customers import ENTITY, done, everybody, sent, tell


async def test_idenfy_sends_again_what_was_not_taken(begin, receiver):
    caller = await begin(**everybody("finish"))
    receiver.answers = [500, 301, 401]
    await caller.idenfy({"clientId": "c-1"})
    await done(caller)
    assert [(entry["status"], entry["attempt"]) for entry in sent(caller)] == [(500, 1), (301, 2), (401, 3), (200, 4)]
    assert len({webhook.body for webhook in receiver.taken}) == 1


async def test_it_gives_up_after_some_attempts(begin, receiver):
    caller = await begin(**everybody("finish"))
    receiver.answers = [503] * 100
    await caller.idenfy({"clientId": "c-1"})
    await done(caller)
    assert [entry["attempt"] for entry in sent(caller)] == [1, 2, 3, 4, 5]


async def test_frankieone_sends_again_fifty_times_but_not_after_a_400(begin, receiver):
    caller = await begin()
    receiver.answers = [500] * 200
    await caller.frankieone()
    await tell(caller, session=ENTITY, does="finish")
    await done(caller)
    for event in ("OCR_PROCESSED", "RESULTS_RETRIEVED"):
        assert [entry["attempt"] for entry in sent(caller) if entry["event"] == event] == list(range(1, 52))
    receiver.taken.clear()
    receiver.answers = [400, 400]
    await tell(caller, session=ENTITY, does="finish")
    await done(caller)
    assert len(receiver.taken) == 2


async def test_nobody_there_is_in_the_log_too(begin):
    caller = await begin(webhooks={"": "http://127.0.0.1:9"}, **everybody("finish"))
    await caller.idenfy({"clientId": "c-1"})
    await done(caller)
    assert {entry["status"] for entry in sent(caller)} == {"unreachable"}
