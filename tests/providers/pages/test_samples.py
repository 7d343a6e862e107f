"""The two pages that print samples and no schema: iDenfy KYB and FrankieOne v1."""

import json
import re
from typing import Any

import pytest

from onboarding_sandbox.endpoints import frankieone_v1
from onboarding_sandbox.endpoints import idenfy as idenfy_kyb
from onboarding_testing.accounts import ENTITY, NOW, company_request, request
from onboarding_worker.core.model.sessions import Session
from onboarding_worker.providers.account import https_link
from onboarding_worker.providers.parameters import names_of
from onboarding_worker.providers.values import Parameter, Type
from tests.providers.endpoints import KYB, V1, answer
from tests.providers.pages.pages import at_sandbox, needs_pages, page
from tests.providers.parameters.reference import parameters_of
from tests.providers.recording import NEW, TAGGED

pytestmark = needs_pages


def printed(text: str, number: int) -> dict[str, Any]:
    """The page's sample request (0) or answer (1): JSON objects that begin a line, after the curl command."""
    found = []
    decoder = json.JSONDecoder()
    for match in re.finditer(r"^\{$", text[text.index("--data '") :], re.MULTILINE):
        value, _ = decoder.raw_decode(text, text.index("--data '") + match.start())
        found.append(value)
    return found[number]


@pytest.fixture(scope="module")
def kyb() -> str:
    return page("S2")


@pytest.fixture(scope="module")
def v1() -> str:
    return page("S1")


# iDenfy KYB


def described(text: str) -> dict[str, tuple[str, str]]:
    """The body's fields as the page describes them: type line and the text below it."""
    part = text[text.index("Body\n\napplication/json") : text.index("Response\n\n201")]
    heads = list(re.finditer(r"^(\w+)\n((?:string|integer|boolean|enum)\S*(?: \| null)?)$", part, re.MULTILINE))
    ends = [head.start() for head in heads[1:]] + [len(part)]
    return {head[1]: (head[2], part[head.end() : end]) for head, end in zip(heads, ends, strict=True)}


def test_our_kyb_table_has_the_pages_names_types_and_bounds(kyb):
    theirs, ours = described(kyb), parameters_of("idenfy-kyb")

    assert list(theirs) == list(ours) == list(printed(kyb, 0))
    assert set(idenfy_kyb.FIELDS) == set(theirs)
    wrong = {name: found for name, (kind, words) in theirs.items() if (found := differing(kind, words, ours[name]))}
    assert wrong == {}


def differing(kind: str, words: str, ours: Parameter) -> list[str]:
    # The page's typed lines: "Required string length: 1 - 100", "Maximum string length: 40", "0 <= x <= 2592000".
    length = re.search(r"string length: (\d+)(?: - (\d+))?$", words, re.MULTILINE)
    least = most = None
    if match := re.search(r"Required string length: (\d+) - (\d+)", words):
        least, most = int(match[1]), int(match[2])
    elif length and "Maximum" in words:
        most = int(length[1])
    elif length:
        least = int(length[1])
    if match := re.search(r"(\d+) <= x <= (\d+)", words):
        least, most = int(match[1]), int(match[2])
    items = re.search(r"Maximum array length: (\d+)", words)
    options = tuple(re.findall(r"^(\w+),?$", words.partition("Available options:")[2].split("\n\n")[0], re.MULTILINE))
    wanted = "a list" if "[]" in kind else {"s": "text", "i": "a whole number", "b": "true or false"}.get(kind[0])
    found = {
        "type": ours.type is Type.CHOICE if kind.startswith("enum") else ours.type.value == wanted,
        "least": ours.least == least,
        "most": ours.most == most,
        "items": ours.items == (int(items[1]) if items else None),
        "choices": ours.choices == (options if kind.startswith("enum") else ()),
        "null": ours.nullable == ("null" in kind),
        "comma": ("[^,]" in words) == ("[^,]" in ours.pattern),
    }
    return [name for name, same in found.items() if not same]


async def test_the_sandbox_accepts_the_kyb_pages_sample_request(kyb):
    """As it is printed, with the one placeholder that has a type of its own filled in."""
    sample = printed(kyb, 0)
    given = {name: value for name, value in sample.items() if name not in ("tokenType", "clientId")}

    company = company_request(given, customer_id="C-1")
    built = json.loads(KYB.make().build(company).body)
    got = await at_sandbox(KYB, company)

    assert built == {**sample, "clientId": "C-1"}
    assert got.status == 201
    body = json.loads(got.body)
    assert list(body) == list(printed(kyb, 1))
    assert isinstance(KYB.make().read(got, company, issued_at=NOW, now=NOW), Session)


def test_the_kyb_pages_sample_answer_is_read(kyb):
    """Its expiry lies years back, so it is read at a time when it did not."""
    then = NOW.replace(year=2023, month=11, day=1)

    sample = printed(kyb, 1)
    company = company_request(customer_id=sample["clientId"])
    session = KYB.make().read(answer(201, sample), company, issued_at=then, now=then)

    assert isinstance(session, Session)
    assert session.token == "<string>"
    assert session.expires_at.isoformat() == "2023-11-07T05:31:56+00:00"
    assert session.link == "https://kyb.ui.idenfy.com/welcome?authToken=%3Cstring%3E"


def test_a_kyb_request_has_nothing_that_the_page_has_not(kyb):
    assert set(json.loads(KYB.make().build(TAGGED).body)) <= set(printed(kyb, 0))


# FrankieOne v1


def kinds(value: Any, at: str = "") -> dict[str, type]:
    """Each place of a sample and its JSON type; a list's items have the list's place."""
    if isinstance(value, dict):
        found = {at: dict}
        for name, inner in value.items():
            found |= kinds(inner, f"{at}.{name}" if at else name)
        return found
    if isinstance(value, list):
        inner = {place: kind for item in value for place, kind in kinds(item, at).items()}
        return {**inner, at: list}
    return {at: type(value)}


OUR_KINDS = {
    Type.TEXT: {str},
    Type.DATE: {str},
    Type.BOOLEAN: {bool},
    Type.INTEGER: {int},
    Type.NUMBER: {int},
    Type.LIST: {list},
    Type.RECORDS: {list},
    Type.OBJECT: {dict},
}


def test_our_v1_table_has_the_pages_names_and_types(v1):
    theirs = kinds(printed(v1, 0))
    ours = {name: parameter for name, parameter in everything(parameters_of("frankieone-v1").values())}

    assert set(ours) == set(theirs) - {""}
    assert {name for name, parameter in ours.items() if theirs[name] not in OUR_KINDS[parameter.type]} == set()


def everything(parameters, at: str = ""):
    """As `names_of`, and into the items of lists too."""
    for parameter in parameters:
        yield at + parameter.name, parameter
        yield from everything(parameter.fields, f"{at}{parameter.name}.")


def test_every_v1_field_has_a_name_of_its_own():
    names = [name for name, _ in names_of(parameters_of("frankieone-v1"))]

    assert len(names) == len(set(names)) > 80


def test_the_sandbox_has_the_pages_shape_of_v1(v1):
    def shape(given: Any) -> Any:
        if isinstance(given, dict):
            return {name: shape(inner) for name, inner in given.items()}
        return [shape(given[0])] if isinstance(given, list) else given if isinstance(given, type) else type(given)

    def loose(given: Any) -> Any:  # the sample's 123 does not say whether a fraction is meant
        if isinstance(given, dict):
            return {name: loose(inner) for name, inner in given.items()}
        return [loose(given[0])] if isinstance(given, list) else int if given is float else given

    assert loose(frankieone_v1.REQUEST) == shape(printed(v1, 0))


async def test_the_sandbox_accepts_the_v1_pages_sample_request(v1):
    sample = printed(v1, 0)
    del sample["consent"], sample["entity"]["entityId"]
    dated = {**sample["entity"]["dateOfBirth"], "dateOfBirth": "1987-11-02"}
    sample["entity"]["dateOfBirth"] = dated

    got = await at_sandbox(V1, request(sample, consent=True), prefill="all")

    assert got.status == 200
    body = json.loads(got.body)
    assert set(body) == set(printed(v1, 1))
    assert body["entity"]["entityId"] == ENTITY
    assert body["entity"]["organisationData"] == sample["entity"]["organisationData"]


def test_a_v1_request_has_nothing_that_the_page_has_not(v1):
    theirs = kinds(printed(v1, 0))
    sent = json.loads(V1.make(prefill="all").build(NEW).body)

    assert kinds(sent)
    assert {name: kind for name, kind in kinds(sent).items() if theirs.get(name) is not kind} == {}


def test_the_v1_pages_sample_answer_opens_a_session(v1):
    sample = printed(v1, 1)

    session = V1.make(prefill="all").read(answer(200, sample), NEW, issued_at=NOW, now=NOW)

    assert isinstance(session, Session)
    assert (session.token, session.vendor, session.sms_sent) == ("41cf9401f0f889616bef", "OCRLabs", True)
    # An address without a scheme: kept, and never a link.
    assert session.vendor_parameters == {"tokenURL": "example1.com"}
    assert https_link(session.vendor_parameters["tokenURL"], ("example1.com",)) is None
    assert session.link == "https://verify.example.com/start#token=41cf9401f0f889616bef"
