import json
from datetime import date, datetime

import pytest

from onboarding_worker.adapters.bodies import json_body, merged, nested


def test_dotted_names_become_objects():
    assert nested({"a.b": 1, "a.c.d": 2, "e": 3}) == {"a": {"b": 1, "c": {"d": 2}}, "e": 3}


def test_a_dotted_name_joins_the_object_that_is_there():
    assert nested({"a": {"b": 1}, "a.c": 2}) == {"a": {"b": 1, "c": 2}}
    assert nested({"a.c": 2, "a": {"b": 1}}) == {"a": {"b": 1, "c": 2}}


def test_the_later_of_two_that_collide_wins():
    assert nested({"a": 1, "a.b": 2}) == {"a": {"b": 2}}
    assert nested({"a.b": 2, "a": 1}) == {"a": 1}


def test_a_later_layer_wins_name_by_name():
    account = {"sessionLength": 600, "additionalData": {"utility": {"town": "Kaunas", "street": "A"}}}
    line = {"additionalData.utility.town": "Vilnius", "checkAml": True}

    together = merged(account, line)

    assert together == {
        "sessionLength": 600,
        "additionalData": {"utility": {"town": "Vilnius", "street": "A"}},
        "checkAml": True,
    }


def test_what_was_given_is_not_changed():
    account = {"additionalData": {"utility": {"town": "Kaunas"}}}

    merged(account, {"additionalData.utility.town": "Vilnius", "additionalData.other.x": "y"})
    nested({**account, "additionalData.utility.street": "A"})

    assert account == {"additionalData": {"utility": {"town": "Kaunas"}}}


def test_null_replaces_an_object():
    assert merged({"additionalSteps": {"ALL": {}}}, {"additionalSteps": None}) == {"additionalSteps": None}


def test_bodies_are_ascii_json_whatever_is_in_them():
    body = json_body({"name": "Ní \ud800", "born": date(1994, 7, 19), "at": datetime(2026, 1, 1, 8, 0)})  # noqa: DTZ001  # TOML has naive times

    assert body.isascii()
    assert json.loads(body) == {"name": "Ní \ud800", "born": "1994-07-19", "at": "2026-01-01T08:00:00"}


def test_what_is_no_json_does_not_pass_for_it():
    with pytest.raises(TypeError, match="set"):
        json_body({"x": {1}})
