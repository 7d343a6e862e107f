"""A hundred cells made to be read as something else, to cost time, or to be shown to a person: what becomes of each."""

from collections.abc import Mapping
from datetime import date

import pytest

from onboarding_worker.core.model.customers import PERSONAL
from onboarding_worker.lists.accept import accept
from onboarding_worker.lists.lines import AcceptedLine
from onboarding_worker.lists.options import ListOptions

OPTIONS = ListOptions(today=date(2026, 11, 20))
NOTHING, REFUSED = object(), object()
LONG = 19_999
# By column: the cell, and its value; NOTHING: as if it were empty, REFUSED: its row.
CELLS: Mapping[str, Mapping[str, object]] = {
    "customer_id": {
        "''": REFUSED, "'": REFUSED, '=""': REFUSED, "=\"'-\"": REFUSED, "\u202e1A": "1A", "1\u202eA": REFUSED,
        "\u200b": REFUSED, "\ufeff\ufeff": REFUSED, "-" * LONG: REFUSED, "(" * LONG + "NULL": REFUSED,
        "#" * LONG: REFUSED,
        "''1": "''1", "'=1": "'=1", "１２": "12", "١٢": REFUSED, "A\n1": REFUSED, "'+370 600 00000": REFUSED,
        '="a@example.com"': REFUSED, "None ": REFUSED, "\x00": REFUSED, "\\N": REFUSED, "n\u200b/a": REFUSED,
    },
    "phone": {
        "tel:" * 4_000: REFUSED, "tel:tel:+37060000000": REFUSED, '="+37060000000': REFUSED,
        '="+370" & "60000000"': REFUSED,
        "=HYPERLINK(\"tel:+37060000000\")": REFUSED, "+37060000000;ext=1": REFUSED, "+370\u202e60000000": REFUSED,
        "\u202e+37060000000": "+37060000000", "'" * LONG: NOTHING, "'" * 9 + "+37060000000": REFUSED, "+" * 40: REFUSED,
        "(+370) 60000000": "+37060000000", "((+370)) 60000000": REFUSED, "+٣٧٠٦٠٠٠٠٠٠٠": "+37060000000",
        "①②③": REFUSED,
        "+37060000000\x00": REFUSED, "\u200b" * LONG: NOTHING, "NULL'; DROP TABLE job": REFUSED, "NULL NULL": REFUSED,
        "＋３７０６０００００００": "+37060000000", "+370 60000000\u2028+370 60000001": REFUSED,
    },
    "email": {
        "mailto:mailto:a@example.com": REFUSED, "mailto:a@example.com?bcc=b@example.com": REFUSED, "mailto:": REFUSED,
        "a@example.com\u202e": "a@example.com", "a\u202e@example.com": REFUSED, '="a@example.com"': "a@example.com",
        "a@exa\u200bmple.com": REFUSED, "a@example.com\r\nBcc: b@example.com": REFUSED,
        "n/a@example.com": "n/a@example.com", "null@example.com": "null@example.com", "@": NOTHING, "a@\ufeff": REFUSED,
    },
    "consent": {
        "Ja, aber nicht": REFUSED, "nein ja": REFUSED, "JA\u200b": True, "J\u200bA": REFUSED, "ΝΑΙ": REFUSED,
        "１": True,
        "true\x00": REFUSED, "-1": REFUSED, "∅": NOTHING, "--": NOTHING, "None": NOTHING, "yes" * 9: REFUSED,
    },
    "country": {
        "NA": "NA", "N A": REFUSED, "(NA)": NOTHING, "D\u200b": "DE", "D\u202eE": REFUSED, "ＤＥ": REFUSED,
        "de" * LONG: REFUSED,
        "germany\x00": "DE", "d": "DE", "F": REFUSED, "#N/A": NOTHING, "#NAME?": REFUSED, "\u0301": NOTHING,
    },
    "locale": {
        "German\u202e": "de", "Ger\u202eman": NOTHING, "deutsch" * LONG: NOTHING, "../de": NOTHING, "de;en": NOTHING,
        "{{ locale }}": NOTHING, "none": NOTHING,
    },
    "first_name": {
        "{" * 99: NOTHING, "[" * 99: NOTHING, "-" * 99 + "a": "-" * 99 + "a", "_" * 49 + "a" + "_" * 49: NOTHING,
        "%%a%%": NOTHING, "«a»": NOTHING, "«Ромашка»": "«Ромашка»", "[solidcore]": "[solidcore]", "\u200b": NOTHING,
        "First Name": NOTHING, "Null": NOTHING, "unknown": NOTHING, "An\u202ena": REFUSED, "[object Object]": NOTHING,
    },
    "tags": {"NULL": ("NULL",), "#N/A;vip": ("vip",), "#REF!;vip": REFUSED, "vip\u202e": REFUSED, "\u200b": NOTHING},
    "date_of_birth": {"0" * LONG: NOTHING, "0000-00-00": NOTHING, "0000-00-01": REFUSED, "\u200b": NOTHING},
}  # fmt: skip


def test_there_are_a_hundred():
    assert sum(map(len, CELLS.values())) >= 100


@pytest.mark.parametrize("column", CELLS)
def test_a_hostile_cell_becomes_what_it_plainly_says_or_nothing_or_rejects_its_row(column, subtests):
    for cell, meant in CELLS[column].items():
        with subtests.test(cell=cell[:40]):
            cells = {"customer_id": "A1", "channel": "none", column: cell}
            line = accept(2, cells, OPTIONS)
            if not isinstance(line, AcceptedLine):
                assert meant is REFUSED
                said = [problem for problem in line.problems if problem.column == column]
                assert said
                assert all(len(problem.problem) < 300 and problem.problem.isprintable() for problem in said)
                continue
            found = getattr(line.customer.person if column in PERSONAL else line.customer, column)
            assert found in ("", None, ()) if meant is NOTHING else found == meant
            assert all(problem.problem.isprintable() for problem in line.if_used)
