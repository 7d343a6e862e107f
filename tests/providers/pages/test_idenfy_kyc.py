"""iDenfy KYC against the narrative page, which has no schema: its table of parameters and its printed samples."""

import json
import re
from datetime import timedelta

import pytest

from onboarding_testing.accounts import NOW, request
from onboarding_worker.core.model.sessions import ExpirySource, Session
from onboarding_worker.providers.parameters import check_parameters
from onboarding_worker.providers.values import Parameter
from tests.providers.endpoints import KYC, answer
from tests.providers.pages.pages import Printed, at_sandbox, needs_pages, page, printed_json, printed_parameters
from tests.providers.parameters.reference import parameters_of

pytestmark = needs_pages
OURS = parameters_of("idenfy-kyc")


@pytest.fixture(scope="module")
def text() -> str:
    return page("S4")


def test_our_table_has_the_pages_parameters_in_the_pages_order(text):
    assert [parameter.name for parameter in printed_parameters(text)] == list(OURS)


def test_only_the_client_id_is_required(text):
    assert [parameter.name for parameter in printed_parameters(text) if parameter.required] == ["clientId"]


TYPES = {
    "String": {"text", "one of a few words", "a date", "an https address"},
    "String | Array": {"a list"},
    "List[String]": {"a list"},
    "Int": {"a whole number"},
    "Integer": {"a whole number"},
    "Bool": {"true or false"},
    "Boolean": {"true or false"},
    "Object": {"a JSON object"},
}


def test_each_parameter_has_the_pages_type(text):
    wrong = [
        parameter.name
        for parameter in printed_parameters(text)
        if OURS[parameter.name].type.value not in TYPES[parameter.type]
    ]

    assert wrong == []


def test_each_parameter_has_the_pages_bounds(text):
    differing = {
        parameter.name: (bounds(parameter), given(OURS[parameter.name]))
        for parameter in printed_parameters(text)
        if not agrees(bounds(parameter), given(OURS[parameter.name]))
    }

    assert differing == {}


def bounds(printed: Printed) -> dict[str, object]:
    """The bounds among the page's constraints."""
    found: dict[str, object] = {}
    for line in printed.constraints:
        if match := re.match(r"Min(?: length)? (\d+)", line):
            found["least"] = int(match[1])
        elif match := re.match(r"Max(?: length)? (\d+)", line):
            found["most"] = int(match[1])
        elif line == "More than 0":
            found["least"] = 1
        elif line.startswith("ASCII"):
            found["ascii"] = True
        elif line.startswith("Values:"):
            found["choices"] = tuple(re.findall(r"'(\w+)'", line))
        elif line.startswith("Pass null"):
            found["nullable"] = True
    return found


def given(ours: Parameter) -> dict[str, object]:
    return {name: getattr(ours, name) for name in ("least", "most", "ascii", "choices", "nullable")}


def agrees(page_says: dict[str, object], we_have: dict[str, object]) -> bool:
    # Where the page is silent we may be stricter: an empty text, or the locale's length, which is S3's.
    return all(we_have[name] == value for name, value in page_says.items())


@pytest.mark.parametrize("name", ["firstName", "lastName"])
def test_every_character_that_the_page_forbids_in_names_is_refused(text, name):
    line = next(
        constraint
        for parameter in printed_parameters(text)
        if parameter.name == name
        for constraint in parameter.constraints
        if constraint.startswith("No special characters:")
    )
    forbidden = line.partition(": ")[2]

    assert len(forbidden) == 24
    assert [character for character in forbidden if OURS[name].problem(f"a{character}b") is None] == []


def test_the_pages_sample_request_passes_our_checks(text):
    sample = printed_json(text, "Request example")
    client = sample.pop("clientId")

    assert OURS["clientId"].problem(client) is None
    assert check_parameters("idenfy-kyc", sample) == []


async def test_the_adapter_builds_the_pages_sample_request_and_the_sandbox_accepts_it(text):
    sample = printed_json(text, "Request example")
    parameters = {name: value for name, value in sample.items() if name != "clientId"}

    asked, provider = request(parameters, customer_id=sample["clientId"]), KYC.make()
    got = await at_sandbox(KYC, asked)

    assert json.loads(provider.build(asked).body) == sample
    assert got.status == 201
    assert set(printed_json(text, "Response example")) <= set(json.loads(got.body))
    assert isinstance(provider.read(got, asked, issued_at=NOW, now=NOW), Session)


def test_the_pages_sample_answer_opens_a_session(text):
    sample = printed_json(text, "Response example")

    asked = request(customer_id=sample["clientId"])
    session = KYC.make().read(answer(200, sample), asked, issued_at=NOW, now=NOW)

    assert isinstance(session, Session)
    assert session.token == "pgYQX0z2T8mtcpNj9I20uWVCLKNuG0vgr12f0wAC"
    assert session.reference == "ec6a7108-8c26-11e9-9758-309c231b1bac"
    assert session.link == "https://ivs.idenfy.com/api/v2/redirect?authToken=pgYQX0z2T8mtcpNj9I20uWVCLKNuG0vgr12f0wAC"
    assert (session.expires_at, session.expiry_source) == (NOW + timedelta(seconds=600), ExpirySource.ANSWER)
    # Seven characters; the page's own text has eight.
    assert session.digit_string == "4823657"


def test_the_samples_minimal_request_is_less_than_we_send(text):
    least = printed_json(text, "for best outcome")

    assert set(least) == {"clientId", "firstName", "lastName"}
    assert set(least) <= set(KYC.body(account={"prefill": "name"}))
