"""Links that live shorter than an invitation may wait: nothing is bought twice for them, and a person is told."""

import datetime

import pytest

from tests.desk.desk import Desk, Played, Row, customers


def companies(number: int, **more: str) -> list[Row]:
    return [row | {"kind": "company", "company_name": "Ostrander Ltd", **more} for row in customers(number)]


@pytest.mark.parametrize(
    ("rows", "routed"),
    [
        (companies(12, **{"idenfy-kyb.lifetime": "3600"}), "idenfy-kyb"),
        ([row | {"idenfy-kyc.expiryTime": "3600"} for row in customers(12)], "idenfy-kyc"),
    ],
    ids=["kyb", "kyc"],
)
def test_a_row_may_ask_for_an_hour_and_its_customer_is_invited_once(desk: Desk, played: Played, rows, routed):
    ended = desk.onboard("run", desk.list_of(rows), "--json")
    assert ended.code == 0, ended.err
    assert ended.facts["rows"]["invited"] == 12
    assert set(played.opened.values()) == {1}


@pytest.mark.parametrize(("known", "calls"), [(False, 1), (True, 3)], ids=["v1", "v2"])
def test_a_vendor_whose_tokens_live_five_minutes_is_asked_once_and_a_person_is_told(
    desk_at, play, known: bool, calls: int
):
    """FrankieOne v2 may return an earlier token, which has aged: three in a row are needed there."""
    played = play(frankieone_lifetime=datetime.timedelta(minutes=5))
    desk = desk_at(played)
    rows = customers(12, au=12)
    rows = rows if known else [row | {"entity_id": ""} for row in rows]
    ended = desk.onboard("run", desk.list_of(rows), "--json")
    assert ended.code == 1
    assert sum(played.opened.values()) == calls
    name = "au" if known else "au-new"
    assert (
        ended.facts["accounts"][name]["stopped"] == "the links live 5 minutes, and must leave with 10 minutes or more"
    )
    assert ended.facts["rows"]["held"] == 1
    assert f"`onboard account resume {name}`" in ended.err
    assert played.message_ids == {}
    again = desk.onboard("run", "customers.csv", "--json")
    assert (again.code, sum(played.opened.values())) == (1, calls)  # a run alone buys no other


def test_once_the_floor_is_lowered_the_account_goes_on_and_the_held_row_is_asked_for_again(desk_at, play):
    played = play(frankieone_lifetime=datetime.timedelta(minutes=5))
    desk = desk_at(played)
    listed = desk.list_of([row | {"entity_id": ""} for row in customers(6, au=6)])
    assert desk.onboard("run", listed).code == 1
    desk.change('accounts = ["au-new"]', 'accounts = ["au-new"]\nfreshness = "2 minutes"')
    assert desk.onboard("account", "resume", "au-new").code == 0
    assert desk.onboard("resolve", "latest", "--repeat", "--yes").code == 0
    ended = desk.onboard("run", listed, "--json")
    assert ended.code == 0, ended.err
    assert ended.facts["rows"]["invited"] == 6
    assert sorted(played.opened.values()) == [1, 1, 1, 1, 1, 2]
