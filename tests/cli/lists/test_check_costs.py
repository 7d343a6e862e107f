"""What `onboard check` foresees: calls, messages, amounts, and rows that would wait."""

from contextlib import closing
from datetime import datetime, timedelta

import pytest

from onboarding_worker.reporting.store.processes import Running
from onboarding_worker.settings.load import load
from onboarding_worker.wiring.container import Parts
from tests.desk.desk import Desk, Played, customers, running


def test_the_worst_case_of_credits_and_messages_comes_from_the_caps(desk: Desk):
    desk.add("[follow_up]\nmost = 2\n[invitations]\nmessages_per_customer = 5\n")
    facts = desk.onboard("check", desk.list_of(customers(10, au=4)), "--json").facts
    assert facts["credits"] == {"au": 12, "kyc": 18}
    assert facts["messages"] == {"email": 30, "sms": 0}


def test_customers_who_are_served_already_cost_no_call(desk: Desk):
    assert desk.onboard("run", desk.list_of(customers(3))).code == 0
    more = desk.list_of(customers(5), "more.csv")
    shown = desk.onboard("check", more)
    assert (
        "\nnow: 2 calls (3 of 5 rows need none: served, finished or held); at most, with 3 reissues each: 8\n"
        in shown.out
    )
    facts = desk.onboard("check", more, "--json").facts
    assert (facts["now"], facts["served"], facts["credits"], facts["messages"]["email"]) == (
        {"kyc": 2},
        3,
        {"kyc": 8},
        8,
    )
    again = desk.onboard("check", "customers.csv")
    assert (again.code, "\nnow: no calls (3 of 3 rows need none: served, finished or held)\n" in again.out) == (0, True)
    assert "would be sent" not in again.out


def test_a_list_that_waits_for_its_calls_is_not_served(desk: Desk):
    desk.onboard("import", desk.list_of(customers(3)))
    assert desk.onboard("check", "customers.csv", "--json").facts["now"] == {"kyc": 3}
    # In another list they are served by the first one, if a process works that.
    other = desk.list_of(customers(4), "other.csv")
    assert desk.onboard("check", other, "--json").facts["now"] == {"kyc": 4}
    running(desk, "up")
    assert desk.onboard("check", other, "--json").facts["now"] == {"kyc": 1}


def test_prices_give_amounts_by_currency_and_exactly(desk: Desk):
    desk.change('provider = "idenfy-kyc"', 'provider = "idenfy-kyc"\nprice = "0.90 EUR"')
    desk.change('provider = "frankieone-v2"', 'provider = "frankieone-v2"\nprice = "1.1 AUD"')
    desk.change("[email]", '[email]\nprice = "0.001 EUR"')
    desk.add("[follow_up]\nmost = 2\n")
    listed = desk.list_of(customers(5, au=1))
    facts = desk.onboard("check", listed, "--json").facts
    assert facts["cost"] == {"now": {"AUD": "1.10", "EUR": "3.605"}, "at_most": {"AUD": "3.30", "EUR": "10.815"}}
    shown = desk.onboard("check", listed).out
    assert "\ncost now: 1.10 AUD, 3.605 EUR\ncost at most: 3.30 AUD, 10.815 EUR\n" in shown
    assert facts["without_price"] == []
    assert "without a price" not in shown
    desk.change('"0.90 EUR"', '"cheap"')
    refused = desk.onboard("check", listed)
    assert (refused.code, "0.90 EUR" in refused.err) == (2, True)


def test_an_amount_names_what_it_leaves_out(desk: Desk):
    desk.change("[email]", '[email]\nprice = "0.01 EUR"')
    listed = desk.list_of(customers(5, au=1))
    assert "  without a price, and so not in it: au, kyc\n" in desk.onboard("check", listed).out
    assert desk.onboard("check", listed, "--json").facts["without_price"] == ["au", "kyc"]


def test_a_list_that_cannot_finish_ends_with_1(desk: Desk):
    desk.change('provider = "idenfy-kyc"', 'provider = "idenfy-kyc"\ncredits = 2')
    ended = desk.onboard("check", desk.list_of(customers(3)))
    assert ended.code == 1
    assert "cannot finish: kyc has 2 credits left for 3 calls\n" in ended.out


def test_an_amount_has_two_decimal_places_at_least(desk: Desk):
    desk.change("[accounts.kyc]", '[accounts.kyc]\nprice = "0.9 EUR"')
    assert "\ncost now: 1.80 EUR\ncost at most: 7.20 EUR\n" in desk.onboard("check", desk.list_of(customers(2))).out


def test_the_cap_of_messages_is_shown_for_both_channels_of_a_customer_together(desk: Desk):
    desk.add('[invitations]\nmessages_per_customer = 5\nfallback = "sms"\n')
    rows = [row | {"phone": f"+3706000000{n}", "channel": "both"} for n, row in enumerate(customers(3))]
    rows += [row | {"phone": "+37060000009"} for row in customers(4)[3:]]  # a text where the mail bounces
    facts = desk.onboard("check", desk.list_of(rows), "--json").facts
    assert facts["messages"] == {"email": 16, "sms": 16}
    assert "16 email, 16 sms, but 20 in total" in desk.onboard("check", desk.list_of(rows)).out
    assert "in all" not in desk.onboard("check", desk.list_of(customers(4))).out
    desk.change("[email]", '[email]\nprice = "0.01 EUR"')
    desk.change("[sms]", '[sms]\nprice = "0.10 EUR"')  # of 5 messages 4 are texts
    assert desk.onboard("check", desk.list_of(rows), "--json").facts["cost"]["at_most"] == {"EUR": "1.64"}
    desk.change('"0.01 EUR"', '"0.01 USD"')  # none is dearer than the other
    assert desk.onboard("check", desk.list_of(rows), "--json").facts["cost"]["at_most"] == {
        "EUR": "1.60",
        "USD": "0.16",
    }


@pytest.mark.parametrize(("name", "now", "most"), [("Bank", "0.20", "0.80"), ("Банк", "0.60", "2.40")])
def test_texts_cost_by_their_segments(desk: Desk, name: str, now: str, most: str):
    desk.change("[sms]", f'[brand]\nname = "{name}"\n[sms]\nprice = "0.10 EUR"')
    rows = [row | {"phone": f"+3706000000{n}", "channel": "sms"} for n, row in enumerate(customers(2))]
    cost = desk.onboard("check", desk.list_of(rows), "--json").facts["cost"]
    assert cost == {"now": {"EUR": now}, "at_most": {"EUR": most}}


def test_the_messages_that_the_cap_of_an_address_delays_are_named_apart(desk: Desk):
    same = ("Same@example.com", "same@example.com", "same+1@example.com", "same+2@example.com")
    addresses = [*(same[number % 4] for number in range(14)), "b@example.com", "b@example.com"]
    rows = [row | {"email": address} for row, address in zip(customers(16), addresses, strict=True)]
    desk.add('[invitations]\nmessages_per_address = "6 / 7 days"\n')
    ended = desk.onboard("check", desk.list_of(rows), "--json")
    forecast = ended.facts["forecast"]
    (words,) = forecast["apart"]
    said = "8 messages wait for messages_per_address (6 / 7 days), the last until "
    assert words.startswith(said)
    until = datetime.fromisoformat(words.removeprefix(said).removesuffix(" or later"))
    assert until - datetime.fromisoformat(forecast["finishes_at"]) > timedelta(days=13)
    assert f"apart from that: {said}" in desk.onboard("check", desk.list_of(rows)).out
    silent = [row | {"channel": "none"} for row in rows]
    assert "apart" not in desk.onboard("check", desk.list_of(silent), "--json").facts["forecast"]
    desk.change('"6 / 7 days"', '"off"')
    assert "apart" not in desk.onboard("check", desk.list_of(rows), "--json").facts["forecast"]


def test_what_other_lists_have_left_goes_before_a_new_list_where_workers_run(desk: Desk):
    assert desk.onboard("import", desk.list_of(customers(4))).code == 0
    new = desk.write("new.csv", "customer_id,email\nNEW-1,new@example.com\n")
    behind = "4 of other batches go first"
    assert behind not in desk.onboard("check", new, "--json").facts["forecast"]["limited_by"]
    with closing(Parts(load(desk.config, environ=desk.environ))) as parts:
        now = parts.clock()
        parts.processes.started("w", Running("worker", "host", 1, "0", None, now, now))
    assert behind in desk.onboard("check", new, "--json").facts["forecast"]["limited_by"]


def test_what_a_row_without_a_language_gets_is_said_with_the_channels_and_countries(desk: Desk):
    rows = "A-1,a@example.com,,DE,de\nA-2,b@example.com,,LT,\nA-3,c@example.com,,,Klingonisch\n"
    rows += "A-4,,+4915112345678,DE,de-AT\nA-5,e@example.com,,DE,pt\nA-6,f,,DE,de\n"
    listed = desk.write("mixed.csv", f"customer_id,email,phone,country,locale\n{rows}")

    shown, facts = desk.onboard("check", listed).out, desk.onboard("check", listed, "--json").facts

    assert "languages: en 3, de 2 (3 without a language)" in shown  # no template has pt
    assert "channels: email 4, sms 1" in shown
    assert "countries: DE 3, LT 1 (1 without a country)" in shown
    assert (facts["languages"], facts["without_language"]) == ({"en": 3, "de": 2}, 3)
    assert (facts["channels"], facts["countries"]) == ({"email": 4, "sms": 1}, {"DE": 3, "LT": 1})
    alike = desk.write("alike.csv", "customer_id,email,country,locale\nA-1,a@example.com,DE,de\n")
    said = desk.onboard("check", alike).out
    assert [name for name in ("languages:", "channels:", "countries:") if name in said] == []


def test_a_customer_who_is_known_is_written_to_in_the_language_that_is_stored(desk: Desk, played: Played):
    desk.onboard("run", desk.list_of([{"customer_id": "A1", "email": "a@example.com", "locale": "de"}], "first.csv"))
    again = desk.list_of([{"customer_id": "A1", "email": "a@example.com", "purpose": "renewal"}], "second.csv")
    assert desk.onboard("check", again, "--json").facts["languages"] == {"de": 1}
