"""What a row may say to the provider: the table of parameters is whole, and a row sets what it may and nothing else."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding_worker.providers.facts import PROVIDERS
from onboarding_worker.providers.parameters import Table, names_of, set_by, tables_of
from onboarding_worker.providers.parameters.effects import Effect, effects, said_of
from onboarding_worker.providers.row_rights import ACCOUNT, Right, judged
from onboarding_worker.providers.values import Parameter, Type
from tests.providers.accounts import frankie_account, idenfy_account
from tests.suite.some import some

KEY = "rights.lists"
NARROW = idenfy_account()


def says(values: Any, *, per_row: tuple[str, ...] = (), columns: tuple[str, ...] = (), names_account: bool = False):
    return judged(idenfy_account(per_row=per_row), Right(KEY, columns), values, names_account=names_account)


def each_table() -> Iterator[tuple[str, Table]]:
    for provider in some(PROVIDERS.built_in):
        for table in tables_of(provider):
            yield f"{provider} {table.dialect}", table


def all_names(table: Table) -> Iterator[tuple[str, Parameter]]:
    """Those of lists of objects too."""

    def inside(parameter: Parameter, at: str) -> Iterator[tuple[str, Parameter]]:
        yield at, parameter
        for member in parameter.fields:
            yield from inside(member, f"{at}.{member.name}")

    for name, parameter in table.parameters.items():
        yield from inside(parameter, name)


def test_each_documented_parameter_says_what_it_can_do_to_the_check_and_who_says_so():
    for name, table in each_table():
        silent = [path for path, _ in all_names(table) if not said_of(table.effects, path).source]
        unknown = [
            path for path, _ in all_names(table) if said_of(table.effects, path).source == "no documented effect"
        ]
        assert (name, silent, unknown) == (name, [], [])


def test_the_table_names_no_parameter_of_another_form_alone():
    for provider in some(PROVIDERS.built_in):
        known = {path for table in tables_of(provider) for path, _ in all_names(table)}
        told = {path for table in tables_of(provider) for path in table.effects}
        assert told <= known


def test_each_parameter_that_is_an_address_is_named_as_one():
    for name, table in each_table():
        for path, parameter in names_of(table.parameters):
            if {Type.URL, Type.URI} & {*parameter.types}:
                assert said_of(table.effects, path).effect is Effect.ADDRESS, (name, path)


@pytest.mark.parametrize(
    ("provider", "values", "sets"),
    [
        ("idenfy-kyc", {"callbackUrl": "https://x.example", "locale": "en"}, ["callbackUrl"]),
        ("idenfy-kyc", {"tokenType": "DOCUMENT", "checkAml": False}, ["tokenType", "checkAml"]),
        ("idenfy-kyc", {"added": 1}, ["added"]),  # no documented one
        ("idenfy-kyc", {"urls.successUrl": "https://x.example"}, ["urls"]),  # of the other form
        ("frankieone-v2", {"vendorParameters": {"flow": {"a": 1}}}, ["vendorParameters"]),
        ("frankieone-v2", {"vendorParameters.flow": 1, "comment": {"text": "x"}}, ["vendorParameters"]),
        ("frankieone-v1", {"entity": {"name": {"givenName": "Ona"}, "flags": [{"flag": "x"}]}}, ["entity.flags.flag"]),
        (
            "frankieone-v1",
            {"entity.identityDocs": [{"idNumber": "1"}, {"documentStatus": "OK"}]},
            ["entity.identityDocs.documentStatus"],
        ),
        (  # what stands beside it hides none of them
            "frankieone-v1",
            {"entity": {"identityDocs": [{}, {"documentStatus": "OK"}], "addresses": ["x", {"extraData": []}, None]}},
            ["entity.identityDocs.documentStatus", "entity.addresses.extraData"],
        ),
        ("frankieone-v1", {"entity": {"nick": "x", "gender": "F"}}, ["entity.nick"]),
        ("idenfy-kyb", {"questionnaire": None, "theme": None}, ["questionnaire"]),
        ("nobody", {"locale": "en"}, ["locale"]),
    ],
)
def test_what_is_no_plain_parameter_needs_a_right(provider: str, values: dict[str, Any], sets: list[str]):
    assert [name for name, said in set_by(provider, values).items() if said.effect is not Effect.PLAIN] == sets


def test_an_object_is_its_members_and_no_object_the_whole():
    def sets(values: Any) -> list[str]:
        return [one for one, said in set_by("idenfy-kyc", values, "openapi").items() if said.effect is not Effect.PLAIN]

    assert sets({"urls": {"successUrl": "https://x.example"}}) == ["urls.successUrl"]
    assert sets({"urls": None}) == sets({"urls": {}}) == ["urls"]
    assert sets({"client": None, "client.name": "Ona"}) == []


def test_both_must_list_it_and_the_refusal_names_who_does_not():
    values = {"checkAml": False}
    both = f"accounts.{NARROW.name}.per_row", KEY
    assert says(values).lacks == {"idenfy-kyc.checkAml": both}
    assert says(values, per_row=("checkAml",)).lacks == {"idenfy-kyc.checkAml": both[1:]}
    assert says(values, columns=("idenfy-kyc.checkAml",)).lacks == {"idenfy-kyc.checkAml": both[:1]}
    allowed = says(values, per_row=("checkAml",), columns=("idenfy-kyc.checkAml",))
    assert (allowed.sets, allowed.problems, allowed.in_words) == (("idenfy-kyc.checkAml",), (), "")
    (problem,) = says(values).problems
    assert problem.column == "idenfy-kyc.checkAml"
    assert all(key in problem.hint for key in both)


def test_an_object_that_is_listed_gives_its_members_and_a_member_not_the_object():
    given = {"vendorParameters": {"flow": 1}}
    allowed = frankie_account(provider="frankieone-v1", per_row=("entity.identityDocs",))
    columns = ("frankieone-v1.entity.identityDocs",)
    docs = {"entity.identityDocs": [{"documentStatus": "x"}]}
    said = judged(allowed, Right(KEY, columns), docs, names_account=False)
    assert said.problems == ()
    # Of a list only the whole can be listed, and the refusal names it.
    (refused,) = judged(allowed, Right(KEY), docs, names_account=False).problems
    assert refused.column == "frankieone-v1.entity.identityDocs.documentStatus"
    assert refused.hint.endswith(f"or list the whole of entity.identityDocs in {KEY}")
    narrow = frankie_account(per_row=("vendorParameters.flow",))
    assert judged(narrow, Right(KEY, ("frankieone-v2.vendorParameters",)), given, names_account=False).problems


def test_who_may_not_name_an_account_does_not_learn_which_lets_itself_be_named():
    refused = [says({}, per_row=per_row, names_account=True).lacks for per_row in ((), (ACCOUNT,))]
    assert refused[0] == refused[1]
    assert refused[0].keys() == {ACCOUNT}
    assert says({}, columns=(ACCOUNT,), names_account=True).problems
    assert not says({}, per_row=(ACCOUNT,), columns=(ACCOUNT,), names_account=True).problems


NAMES = sorted({path for table in tables_of("idenfy-kyc") for path in table.effects} | {"theme", "x.y"})
LISTED = st.lists(st.sampled_from([*NAMES, "urls", "settings", ACCOUNT]), max_size=4)


@given(st.dictionaries(st.sampled_from(NAMES), st.booleans(), max_size=5), LISTED, LISTED, st.booleans())
def test_a_row_is_let_through_only_with_what_both_list(values, per_row, columns, names_account):
    own = tuple(one if one == ACCOUNT else f"idenfy-kyc.{one}" for one in columns)
    said = says(values, per_row=tuple(per_row), columns=own, names_account=names_account)
    plain = {name for name, one in set_by("idenfy-kyc", values, "narrative").items() if one.effect is Effect.PLAIN}
    for column in {*said.sets} - said.lacks.keys():
        name = column.removeprefix("idenfy-kyc.")
        around = {name[: at or None] for at in [0, *(place for place, one in enumerate(name) if one == ".")]}
        assert around & {*per_row}
        assert around & {*columns}
    # Nothing that is sent is forgotten: what a row says is plain, or is named.
    given_names = {name.partition(".")[0] for name in values}
    named = {column.removeprefix("idenfy-kyc.").partition(".")[0] for column in said.sets}
    assert given_names <= named | {name.partition(".")[0] for name in plain} | {ACCOUNT}


def test_an_adapter_whose_author_says_nothing_lets_rows_set_nothing():
    table = Table({"flow": Parameter("flow", Type.TEXT), "colour": Parameter("colour", Type.TEXT)})
    assert said_of(table.effects, "flow").effect is Effect.WEAKENS
    told = effects((Effect.PLAIN, "colour", "the page's colour"))
    assert said_of(told, "colour").effect is Effect.PLAIN
