"""Faults on demand: what the caller sees, what was done nevertheless, and that a seed repeats them."""

import asyncio
from contextlib import nullcontext

import aiohttp
import pytest

from onboarding_sandbox import Fault, Sandbox, SandboxOptions, SmtpFault
from onboarding_sandbox.faults import KINDS, Draw
from tests.sandbox.customers import ENTITY, FRANKIEONE
from tests.suite.waiting import wait_until


def test_a_fault_is_read_from_its_text():
    cases = {
        "429:0.05,retry-after=1": Fault("429", 0.05, retry_after="1"),
        "500:0.01": Fault("500", 0.01),
        "hang:.5,endpoint=idenfy-kyc": Fault("hang", 0.5, endpoint="idenfy-kyc"),
        "429:1,retry-after=": Fault("429", 1, retry_after=""),
        "500:1,processed=yes": Fault("500", 1, processed=True),
        "429:1,retry-after=Fri, 20 Nov 2026 12:00:00 GMT,endpoint=frankieone-v2": Fault(
            "429", 1, endpoint="frankieone-v2", retry_after="Fri, 20 Nov 2026 12:00:00 GMT"
        ),
    }
    assert {text: Fault.parse(text) for text in cases} == cases


def test_an_invalid_fault_is_refused_with_what_is_expected(subtests):
    cases = [
        ("429", "expected KIND:SHARE"),
        ("429:", "expected KIND:SHARE"),
        ("429:many", "expected KIND:SHARE"),
        ("418:0.1", "KIND is one of"),
        ("500:1.5", "from 0 to 1"),
        ("500:0.1,after=2", "expected KIND:SHARE"),
        ("500:0.1,endpoint=idenfy", "endpoint is one of"),
        ("500:0.1,endpoint=smtp", "endpoint is one of"),
        ("429:0.1,retry-after=a\nb", "one line"),
        ("500:0.1,processed=maybe", "processed"),
        ("drop-before:0.1,processed=yes", "never processed"),
        ("drop-after:0.1,processed=no", "always processed"),
        ("400-too-many:0.1,endpoint=frankieone-v2", "use 429"),
    ]
    for text, hint in cases:
        with subtests.test(text=text), pytest.raises(ValueError, match=hint):
            Fault.parse(text)


def test_shares_that_add_up_to_more_than_all_calls_are_refused():
    options = SandboxOptions(faults=(Fault("429", 0.6), Fault("500", 0.6, endpoint="idenfy-kyc")))
    with pytest.raises(ValueError, match="idenfy-kyc add up"):
        Sandbox(options)


def drawn(seed: int | None, name: str = "idenfy-kyc") -> list[str | None]:
    draw = Draw(name, [Fault("429", 0.3), Fault("500", 0.2)], seed)
    return [None if fault is None else fault.kind for fault in (draw.next() for _ in range(2_000))]


def test_the_same_seed_draws_the_same_faults():
    assert drawn(7) == drawn(7)
    assert drawn(7) != drawn(8)


def test_each_endpoint_draws_for_itself():
    assert drawn(7, "idenfy-kyc") != drawn(7, "frankieone-v2")


def test_faults_come_in_their_shares():
    faults = drawn(7)
    assert 500 < faults.count("429") < 700
    assert 300 < faults.count("500") < 500


async def test_the_same_seed_gives_the_same_answers(start):
    async def statuses(seed: int) -> list[int]:
        caller = await start(faults=(Fault("500", 0.5),), seed=seed)
        return [(await caller.idenfy())[0] for _ in range(40)]

    first = await statuses(7)
    assert first == await statuses(7)
    assert set(first) == {201, 500}


async def test_after_a_reset_the_faults_start_again(start):
    caller = await start(faults=(Fault("500", 0.5),), seed=7)
    first = [(await caller.idenfy())[0] for _ in range(20)]
    await caller.ask("POST", "/_sandbox/reset")
    assert [(await caller.idenfy())[0] for _ in range(20)] == first


@pytest.mark.parametrize(
    ("kind", "status", "identifier"),
    [
        ("429", 429, "TOO_MANY_REQUESTS"),
        ("400-too-many", 400, "TOO_MANY_REQUESTS"),
        ("500", 500, "INTERNAL_ERROR"),
        ("503", 503, None),
        ("402", 402, None),
    ],
)
async def test_idenfys_faults_have_its_texts(start, kind, status, identifier):
    caller = await start(faults=(Fault(kind, 1),))
    answered, _, body = await caller.idenfy()
    assert (answered, body.get("identifier")) == (status, identifier)
    assert body["message"]


async def test_the_gateway_before_idenfy_answers_in_html(start):
    for kind in ("502", "504"):
        caller = await start(faults=(Fault(kind, 1),))
        status, headers, body = await caller.idenfy()
        assert (status, body[:6]) == (int(kind), "<html>")
        assert headers["Content-Type"].startswith("text/html")


async def test_frankieones_faults_have_its_texts(start, subtests):
    for kind in ["401", "402", "403", "408", "429", "500", "502", "503", "504"]:
        with subtests.test(kind=kind):
            caller = await start(faults=(Fault(kind, 1),))
            status, _, body = await caller.frankieone()
            assert status == int(kind)
            assert body.keys() == {"errorCode", "errorMsg", "details", "requestId"}


async def test_idenfys_400_is_never_frankieones(start):
    caller = await start(faults=(Fault("400-too-many", 1),))
    assert (await caller.frankieone())[0] == 200


@pytest.mark.parametrize("given", ["soon, perhaps", None])
async def test_a_retry_after_is_sent_as_it_was_given_and_without_one_there_is_none(start, given):
    caller = await start(faults=(Fault("429", 1, retry_after=given),))
    _, headers, _ = await caller.idenfy()
    assert headers.get("Retry-After") == given


async def test_a_fault_of_one_endpoint_leaves_the_others_alone(start):
    caller = await start(faults=(Fault("500", 1, endpoint="idenfy-kyc"),))
    assert (await caller.idenfy())[0] == 500
    assert (await caller.listing())[0] == 200
    assert (await caller.frankieone())[0] == 200


async def test_a_fault_comes_before_the_session_was_opened_or_after_it(start, subtests):
    of_kyc = {"endpoint": "idenfy-kyc"}
    for fault, raised, status, opened in [
        (Fault("500", 1, **of_kyc), None, 500, 0),
        (Fault("500", 1, **of_kyc, processed=True), None, 500, 1),
        (Fault("drop-before", 1, **of_kyc), aiohttp.ServerDisconnectedError, "dropped", 0),
        (Fault("drop-after", 1, **of_kyc), aiohttp.ServerDisconnectedError, "dropped", 1),
        (Fault("half-body", 1, **of_kyc), aiohttp.ClientPayloadError, 201, 1),
    ]:
        with subtests.test(fault=fault):
            caller = await start(faults=(fault,))
            with pytest.raises(raised) if raised else nullcontext():
                assert (await caller.idenfy({"clientId": "c-7"}))[0] == status
            (entry,) = caller.sandbox.log
            assert (entry["status"], entry["fault"], entry["client"]) == (status, fault.kind, "c-7")
            assert (entry["processed"], entry["token"] is not None) == (bool(opened), bool(opened))
            _, _, listed = await caller.listing(clientId="c-7")
            assert [one["scanRef"] for one in listed["results"]] == [entry["reference"]] * opened


async def test_the_next_call_returns_a_dropped_frankieone_token(start):
    caller = await start(faults=(Fault("drop-after", 0.5),), seed=3)
    tokens = []
    for _ in range(20):
        try:
            tokens.append((await caller.frankieone())[2]["token"])
        except aiohttp.ServerDisconnectedError:
            continue
    assert len(tokens) < 20
    assert set(tokens) == {entry["token"] for entry in caller.sandbox.log}
    assert len(set(tokens)) == 1


async def test_html_comes_with_200(start):
    caller = await start(faults=(Fault("html", 1),))
    status, headers, _ = await caller.frankieone()
    assert status == 200
    assert headers["Content-Type"].startswith("text/html")


async def test_a_caller_that_follows_a_redirect_is_in_the_log(start):
    caller = await start(faults=(Fault("redirect", 1),))
    status, headers, _ = await caller.idenfy()
    assert (status, len(caller.sandbox.log)) == (307, 1)
    assert (await caller.ask("POST", headers["Location"]))[0] == 404
    assert caller.sandbox.log[-1]["endpoint"] == "unknown"


async def test_a_huge_answer_can_be_left_before_its_end(start):
    caller = await start(faults=(Fault("huge", 1, endpoint="frankieone-v2"),))
    path = f"/frankieone/v2/individuals/{ENTITY}/actions/idv/token"
    async with caller.http.post(caller.sandbox.url + path, headers=FRANKIEONE) as answer:
        seen = await answer.content.readexactly(2_000_000)
        answer.close()
    assert seen.startswith(b'["aaaa')
    assert (await caller.idenfy())[0] == 201


async def test_a_hung_call_is_never_answered(start):
    caller = await start(faults=(Fault("hang", 1),))
    call = asyncio.create_task(caller.idenfy())
    await asyncio.to_thread(wait_until, lambda: bool(caller.sandbox.log), "a call at the sandbox")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await call
    (entry,) = caller.sandbox.log
    assert (entry["status"], entry["fault"], entry["processed"]) == ("hung", "hang", False)


async def test_an_unauthorised_call_draws_no_fault(start):
    caller = await start(faults=(Fault("500", 1),))
    assert (await caller.idenfy(login="a:b"))[0] == 401


def test_every_kind_can_be_requested_by_its_name():
    assert {Fault.parse(f"{kind}:0.1").kind for kind in KINDS} == set(KINDS)


def test_a_mail_fault_is_read_from_its_text():
    cases = {
        "450:0.05": SmtpFault("450", 0.05, at="rcpt"),
        "451:0.05": SmtpFault("451", 0.05, at="data"),
        "450:1,at=data": SmtpFault("450", 1, at="data"),
        "drop-after:0.01": SmtpFault("drop-after", 0.01),
    }
    assert {text: SmtpFault.parse(text) for text in cases} == cases


def test_a_mail_fault_that_cannot_be_read_is_refused(subtests):
    for text in ["450", "250:0.1", "600:0.1", "hang:0.1", "450:2", "450:1,at=mail", "drop-after:1,at=data"]:
        with subtests.test(text=text), pytest.raises(ValueError, match=r"expected|share|at="):
            SmtpFault.parse(text)
