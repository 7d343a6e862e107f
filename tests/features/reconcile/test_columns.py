"""What a row of a provider's export or a sender's log says, however its columns are named and its values written."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from onboarding_worker.features.reconcile.columns import PROVIDER, SENDER, Sent, charge_of, sending_of, shown
from onboarding_worker.lists.lines import ListRefused
from onboarding_worker.lists.listing import open_table
from onboarding_worker.lists.options import ListOptions, Vocabulary
from tests.conftest import NOON


def table(tmp_path, text: str, names=PROVIDER, mapping=None, name: str = "export.csv"):
    (tmp_path / name).write_text(text, "utf-8")
    vocabulary = Vocabulary(names, mapping or {}, ("scan_ref", "message_id", "sid", "reference", "to"))
    options = ListOptions(today=NOON.date(), vocabulary=vocabulary)
    return list(open_table(tmp_path / name, options)[0])


@pytest.mark.parametrize("title", ["scanRef", "Scan Ref", "SCAN_REF", "scan reference", "Identification ID"])
def test_a_column_is_known_by_each_of_its_names(tmp_path, title: str):
    (raw,) = table(tmp_path, f"Who;{title};Price\nAnn;abc;0,90 EUR\n")

    charge = charge_of(raw.row, raw.cells)

    assert (charge.row, charge.keys, charge.amount, charge.currency) == (2, ("abc",), Decimal("0.90"), "EUR")


def test_of_several_columns_with_one_meaning_the_best_is_read_and_a_mapped_one_wins(tmp_path):
    text = "id,session id,Ref\n1,two,three\n"

    assert charge_of(2, table(tmp_path, text)[0].cells).keys == ("two",)
    assert charge_of(2, table(tmp_path, text, mapping={"ref": "reference"})[0].cells).keys == ("three",)


def test_a_log_of_json_objects_is_read_into_its_depth(tmp_path):
    text = (
        '{"eventType": "Bounce", "mail": {"messageId": "0100-abc", "timestamp": "2026-11-20T12:00:00.000Z",'
        ' "destination": ["Ann@Example.com"]}, "bounce": {"a": {"b": {"c": {"d": 1}}}}}\n'
    )
    (raw,) = table(tmp_path, text, SENDER, name="log.jsonl")

    sending = sending_of(raw.row, raw.cells)

    assert (sending.keys, sending.email, sending.sent, sending.at) == (
        ("0100-abc",),
        "ann@example.com",
        Sent.FAILED,
        NOON,
    )


def test_a_table_without_an_id_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(ListRefused, match="--map THEIRS=OURS"):
        table(tmp_path, "name,price\nAnn,1\n")


def test_a_time_is_read_in_the_forms_that_exports_have():
    cases = [
        "2026-11-20T12:00:00Z",
        "2026-11-20 12:00:00 UTC",
        "2026-11-20T13:00:00+01:00",
        "Fri, 20 Nov 2026 12:00:00 +0000",
        "1795176000",
        "1795176000000",
        "2026-11-20 12:00",
    ]
    assert [
        (text, got)
        for text in cases
        if (got := charge_of(2, {"scan_ref": "a", "at": text}).at) != datetime(2026, 11, 20, 12, tzinfo=UTC)
    ] == []


def test_a_time_that_cannot_be_read_is_a_problem_that_does_not_repeat_it(subtests: pytest.Subtests):
    for text in ["soon", "99999999999999999", "0001-01-01T00:00:00+23:59", "2026-13-45", "9" * 300]:
        with subtests.test(text=text):
            assert charge_of(2, {"scan_ref": "a", "at": text}) == "its time cannot be read"
            assert sending_of(2, {"sid": "a", "at": text}) == "its time cannot be read"


def test_an_amount_that_cannot_be_read_is_a_problem():
    cases = ["much", "1.2.3", "NaN", "1e9", "--5", "9" * 60, "=1+1", "0x10"]
    assert [
        (text, got)
        for text in cases
        if (got := charge_of(2, {"scan_ref": "a", "amount": text})) != "its amount cannot be read"
    ] == []


def test_a_row_without_an_id_is_a_problem(subtests):
    for cells in [{}, {"scan_ref": ""}, {"scan_ref": "x" * 401}, {"scan_ref": ["a", "b"]}, {"at": "x"}]:
        with subtests.test(cells=cells):
            assert isinstance(charge_of(2, cells), str)
            assert isinstance(sending_of(2, cells), str)


def test_what_a_spreadsheet_lost_is_no_id():
    assert charge_of(2, {"scan_ref": "#REF!", "customer_id": "#N/A"}) == charge_of(2, {})
    assert sending_of(2, {"message_id": "#####", "customer_id": "A1"}) == sending_of(2, {"customer_id": "A1"})


def test_what_a_program_has_added_around_an_id_is_taken_off():
    assert charge_of(2, {"customer_id": "'00123\u200b"}) == charge_of(2, {"customer_id": "00123"})


def test_the_channel_of_a_message_shows_by_its_id_or_address():
    cases = [
        ({"sid": "SM" + "0" * 32}, "sms"),
        ({"message_id": "<0192f000000070008000000000000000@example.com>"}, "email"),
        ({"to": "+37061234567"}, "sms"),
        ({"to": "ann@example.com"}, "email"),
        ({"reference": "Q1", "channel": "SMS"}, "sms"),
        ({"reference": "Q1"}, ""),
    ]
    assert [(cells, got) for cells, channel in cases if (got := sending_of(2, cells).channel) != channel] == []


def test_what_may_be_an_address_or_a_number_is_never_shown():
    cases = ["ann@example.com", "+370 612 34567", "37061234567", "a b", "=cmd", "a" * 101, "\u202eabc"]
    assert [(key, got) for key in cases if (got := shown(key)) != "(not shown)"] == []


def test_the_repr_of_a_row_shows_no_address():
    assert "ann" not in repr(sending_of(2, {"to": "ann@example.com"}))
