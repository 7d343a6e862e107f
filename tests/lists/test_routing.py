from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding_worker.core.model.customers import Channel, Customer, CustomerKind, FieldProblem, Person
from onboarding_worker.lists.importing.routing import Rule, brand_for, choose_account, freshness_of
from onboarding_worker.lists.lines import Chosen
from onboarding_worker.settings.routes import ROUTABLE
from tests.suite.cases import differing

RULES = (
    Rule({"kind": "company"}, ("kyb",)),
    Rule({"country": ("AU", "nzl"), "entity_id": True}, ("au", "kyc-eu"), timedelta(minutes=10)),
    Rule({}, ("kyc-eu",), timedelta(hours=12)),
)
KNOWN = ("kyb", "au", "kyc-eu")


def anyone(account: str, customer: Customer, freshness: timedelta | None) -> list[FieldProblem]:
    return []


def not_able(account: str, customer: Customer, freshness: timedelta | None = None) -> list[FieldProblem]:
    return [FieldProblem("email", f"{account} needs one", "fill it in")]


def all_but(refused: str):
    return lambda account, customer, freshness: not_able(account, customer) if account == refused else []


def test_the_first_route_that_fits_decides():
    cases = [
        (Customer("A1", kind=CustomerKind.COMPANY, country="AU"), Chosen("kyb", "route 1: kind=company", None)),
        (
            Customer("A1", country="AU", entity_id="e"),
            Chosen("au", "route 2: country=AU, entity_id present", timedelta(minutes=10), ("kyc-eu",)),
        ),
        (
            Customer("A1", country="NZ", entity_id="e"),
            Chosen("au", "route 2: country=nzl, entity_id present", timedelta(minutes=10), ("kyc-eu",)),
        ),
        (Customer("A1", country="AU"), Chosen("kyc-eu", "route 3: every customer", timedelta(hours=12))),
        (Customer("A1", country="LT", entity_id="e"), Chosen("kyc-eu", "route 3: every customer", timedelta(hours=12))),
        (Customer("A1", country="LT", account="au"), Chosen("au", "account column", None)),
        (Customer("A1", country="LT", account="kyc-eu"), Chosen("kyc-eu", "account column", timedelta(hours=12))),
    ]
    assert differing(cases, lambda customer: choose_account(customer, RULES, able=anyone, known=KNOWN)) == []


def test_the_brand_is_the_rows_else_that_of_the_first_route_that_fits():
    rules = (Rule({"tags": "nova"}, ("kyb",), brand="nova"), Rule({"country": "LT"}, ("au",)), *RULES)

    def brand(**line: object) -> str:
        return brand_for(Customer("A1", **line), rules)

    assert brand(tags=("nova",)) == "nova"
    assert brand(tags=("nova",), brand="other") == "other"
    assert brand(tags=("nova",), account="kyc-eu") == "nova"
    assert brand(country="LT") == brand() == ""


def test_within_a_route_the_first_account_that_is_able_is_chosen():
    customer = Customer("A1", country="AU", entity_id="e")
    chosen = choose_account(customer, RULES, able=all_but("au"), known=KNOWN)
    assert chosen == Chosen(
        "kyc-eu", "route 2: country=AU, entity_id present; au cannot serve the customer", timedelta(minutes=10)
    )


def test_the_other_able_accounts_are_fallback_accounts_in_the_route_s_order():
    rules = (Rule({}, ("au", "kyc-eu", "kyb", "au-new", "kyc-eu")),)
    for refused, fallback_accounts in (("", ("kyc-eu", "kyb", "au-new")), ("kyb", ("kyc-eu", "au-new"))):
        chosen = choose_account(Customer("A1"), rules, able=all_but(refused), known=KNOWN)
        assert (chosen.account, chosen.fallback_accounts) == ("au", fallback_accounts)


def test_an_account_that_was_passed_over_is_no_fallback_account():
    chosen = choose_account(Customer("A1", country="AU", entity_id="e"), RULES, able=all_but("au"), known=KNOWN)
    assert (chosen.account, chosen.fallback_accounts) == ("kyc-eu", ())


def test_there_is_no_fallback_account_where_the_list_names_the_account():
    customer = Customer("A1", country="AU", entity_id="e", account="au")
    assert choose_account(customer, RULES, able=anyone, known=KNOWN).fallback_accounts == ()


def test_a_route_whose_accounts_cannot_serve_the_customer_is_not_passed_over():
    customer = Customer("A1", kind=CustomerKind.COMPANY)
    answer = choose_account(customer, RULES, able=all_but("kyb"), known=KNOWN)
    assert answer == (FieldProblem("email", "kyb needs one", "fill it in"),)


def test_what_every_account_of_the_route_lacks_is_reported():
    answer = choose_account(Customer("A1", country="AU", entity_id="e"), RULES, able=not_able, known=KNOWN)
    assert [problem.problem for problem in answer] == ["au needs one", "kyc-eu needs one"]


def test_a_forced_account_must_exist_and_be_able():
    (unknown,) = choose_account(Customer("A1", account="elsewhere"), RULES, able=anyone, known=KNOWN)
    assert unknown.column == "account"
    assert "au, kyb, kyc-eu" in unknown.hint
    (unable,) = choose_account(Customer("A1", account="au"), RULES, able=not_able, known=KNOWN)
    assert unable.problem == "au needs one"


def test_a_customer_whom_no_route_fits_is_unroutable():
    (problem,) = choose_account(Customer("A1", country="LT"), RULES[:2], able=anyone, known=KNOWN)
    assert "without `when`" in problem.hint


def test_a_when_looks_at_any_column_whatever_its_case(subtests):
    cases = [
        ({"locale": "pt_br"}, True),
        ({"locale": "pt"}, False),
        ({"tags": ("x", "Web")}, True),
        ({"tags": True}, True),
        ({"tags": "x"}, False),
        ({"purpose": "ONBOARDING"}, True),
        ({"channel": "sms"}, True),
        ({"email": False}, True),
        ({"phone": True}, True),
        ({"date_of_birth": True}, True),
        ({"date_of_birth": "1990-01-02"}, True),
        ({"nationality": "LTU"}, True),
        ({"consent": True}, False),
        ({"consent": False}, True),
        ({"template": ("a", "b")}, False),
        ({"country": False}, True),
        ({"country": False, "locale": "de"}, False),
    ]
    for when, fits in cases:
        with subtests.test(when=when):
            customer = Customer(
                "A1",
                person=Person(phone="+37060000000", nationality="LT", date_of_birth=date(1990, 1, 2)),
                locale="pt-BR",
                tags=("spring", "web"),
                channel=Channel.SMS,
            )
            assert (Rule(when, ("a",)).fits(customer) is not None) is fits


@pytest.mark.parametrize(
    ("when", "accounts", "message"),
    [
        ({"contry": "AU"}, ("a",), "when.contry: not a column that routes can use; the nearest is country"),
        ({"country": "Australia"}, ("a",), "is not an ISO 3166 country code"),
        ({"country": ()}, ("a",), "when.country: an empty list matches no customer"),
        ({}, (), "accounts: name at least one"),
    ],
)
def test_a_rule_that_could_never_work_is_refused(when, accounts, message):
    with pytest.raises(ValueError, match=message):
        Rule(when, accounts)


VALUES = st.from_regex("[0-9]{8}", fullmatch=True)  # no sentence of ours has such a number


@given(VALUES, VALUES, st.sampled_from(sorted({*ROUTABLE} - {"kind", "country", "nationality", "channel", "consent"})))
def test_a_reason_holds_no_value_of_the_customers(mine, configured, column):
    customer = Customer(
        f"id{mine}", person=Person(email=mine, phone=mine, first_name=mine, last_name=mine, address=mine), tags=(mine,)
    )
    for wanted in (True, False, configured):
        answer = choose_account(customer, (Rule({column: wanted}, ("a",)),), able=anyone, known=("a",))
        # A value that the configuration names itself is the configuration's own.
        assert mine not in str(answer) or mine == configured


@given(
    st.lists(
        st.tuples(st.sampled_from(["AU", "NZ", "LT", None]), st.sets(st.sampled_from("abc"), min_size=1)), max_size=5
    ),
    st.sampled_from(["AU", "LT", ""]),
    st.sets(st.sampled_from("abc")),
)
def test_the_choice_is_the_first_able_account_of_the_first_fitting_rule(table, country, stopped):
    rules = [Rule({"country": wanted} if wanted else {}, tuple(sorted(accounts))) for wanted, accounts in table]
    answer = choose_account(
        Customer("A1", country=country),
        rules,
        able=lambda account, customer, freshness: not_able(account, customer) if account in stopped else [],
        known=("a", "b", "c"),
    )
    fitting = next((sorted(accounts) for wanted, accounts in table if wanted in (None, country)), [])
    expected = next((account for account in fitting if account not in stopped), None)
    assert (answer.account if isinstance(answer, Chosen) else None) == expected


HOUR = timedelta(hours=1)


def test_a_links_freshness_is_that_of_the_first_route_that_fits_and_has_the_account(subtests):
    for rules, german, french in [
        ([Rule({"country": "DE"}, ("eu",), HOUR), Rule({}, ("eu",))], HOUR, None),
        ([Rule({"country": "DE"}, ("eu",), HOUR)], HOUR, None),  # no route chooses the account for another customer
        ([Rule({"country": "DE"}, ("eu",), HOUR), Rule({}, ("eu",), HOUR)], HOUR, HOUR),
        ([Rule({"country": "DE"}, ("us",), HOUR), Rule({}, ("eu",), 2 * HOUR)], 2 * HOUR, 2 * HOUR),
        ([Rule({"country": "DE"}, ("eu",)), Rule({}, ("us",), HOUR)], None, None),
    ]:
        with subtests.test(rules=rules, german=german, french=french):
            assert freshness_of("eu", rules)(Customer("C-1", country="DE")) == german
            assert freshness_of("eu", rules)(Customer("C-2", country="FR")) == french
