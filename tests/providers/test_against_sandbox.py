"""Adapter, transport and sandbox together: each recorded case live, and broken connections, which no cassette has."""

from dataclasses import replace
from datetime import timedelta
from itertools import product

from onboarding_sandbox import Sandbox, SandboxOptions
from onboarding_sandbox.faults import Fault
from onboarding_testing.accounts import ENTITY, NOW
from onboarding_worker.core.model.endings import Kind, Problem
from onboarding_worker.core.model.sessions import Session
from onboarding_worker.http.client import Http, open_http_session
from onboarding_worker.providers.contract import Broken, Listing
from tests.providers.recording import CASES, Case

LONG = timedelta(seconds=10)
CREATED = {case.endpoint: case for case in CASES if case.name in ("created-200", "created-201")}


async def results(case: Case, within: timedelta = LONG, **options):
    """The results of the case's calls, at a sandbox with the case's options and these."""
    async with (
        Sandbox(SandboxOptions(clock=lambda: NOW, seed=1, **{**case.sandbox, **options})) as sandbox,
        open_http_session() as session,
    ):
        provider = case.provider(base_url=f"{sandbox.url}/{case.family}", **case.credentials())
        found = []
        for _ in range(case.calls):
            got = await Http(session).call(provider.build(case.asked), timeout=within)
            if isinstance(got, Broken):
                found.append(provider.broken(got, case.asked))
            else:
                found.append(provider.read(got, case.asked, issued_at=NOW, now=NOW))
        if case.look_up:
            got = await Http(session).call(provider.look_up(case.asked, page=1), timeout=within)
            found.append(provider.read_look_up(got, case.asked, now=NOW))
        return found


async def test_the_sandbox_answers_as_it_was_recorded(subtests):
    for case in CASES:
        with subtests.test(case=f"{case.endpoint}/{case.name}"):
            *opened, result = await results(case)

            if case.kind is None and case.look_up:
                assert isinstance(result, Listing)
                assert [entry.reference for entry in result.entries] == [
                    session.reference for session in reversed(opened)
                ]
            elif case.kind is None:
                assert isinstance(result, Session)
                assert result.expires_at > NOW
            else:
                assert isinstance(result, Problem)
                assert result.kind is case.kind


async def test_frankieone_hands_the_same_unexpired_token_back():
    first, again = await results(next(case for case in CASES if case.name == "same-token-again-200"))

    assert (first.token, first.expires_at) == (again.token, again.expires_at)


async def test_frankieones_first_family_gives_another_token_for_the_same_entity():
    first, again = await results(next(case for case in CASES if case.name == "another-token-200"))

    assert first.token != again.token
    assert first.references["entityId"] == again.references["entityId"] == ENTITY


async def test_the_answer_names_the_entity_and_it_is_a_new_one_each_time():
    case = next(case for case in CASES if case.endpoint == "frankieone-v1" and case.name == "created-200")

    first, again = await results(replace(case, calls=2))

    assert first.reference == first.references["entityId"] != again.reference


async def test_a_rate_limit_of_the_sandbox_says_how_long_to_wait():
    problem = (await results(next(case for case in CASES if case.name == "too-many-429")))[-1]

    assert problem.retry_after == timedelta(seconds=1)


async def test_a_call_that_breaks_has_an_unknown_outcome_if_repeating_costs(subtests):
    cases = [
        ("idenfy-kyc", Kind.UNKNOWN),
        ("idenfy-kyc-openapi", Kind.UNKNOWN),
        ("idenfy-kyb", Kind.UNKNOWN),
        ("frankieone-v1", Kind.UNKNOWN),
        ("frankieone-v2", Kind.TRANSIENT),
    ]
    for (endpoint, kind), fault in product(cases, ["drop-after", "drop-before", "half-body", "hang", "huge"]):
        with subtests.test(endpoint=endpoint, fault=fault):
            within = timedelta(milliseconds=150) if fault == "hang" else LONG

            result = (await results(CREATED[endpoint], within, faults=(Fault(fault, 1.0),)))[-1]

            assert isinstance(result, Problem)
            assert result.kind is kind
