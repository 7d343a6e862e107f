"""Exports of 300 customers in the manner of three CRMs, each cell with what it means: invented from a fixed seed.

A column has ways to write a cell, the plain one first; {n} is three digits of the row. None means nothing, WRONG
rejects the row. One row in nine has such a cell; two further cells of each row are written in any way that is read.
"""

import csv
import io
import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

ROWS = 300
WRONG = object()
Ways = Mapping[str, Any]  # what is written, and what is meant
NOTHING: Ways = dict.fromkeys(
    ("NULL", "n/a", "-", "#N/A", "(none)", "unbekannt", "", "\u200b", "--None--", "#NV", "k.A.")
)
GERMAN_PHONES: Ways = {
    "+49 1512 3456{n}": "+4915123456{n}",
    "0171 39200{n}": "+4917139200{n}",
    "'+4915123456{n}": "+4915123456{n}",
    '="+4915123456{n}"': "+4915123456{n}",
    "tel:+4915123456{n}": "+4915123456{n}",
    "\u202a+49 1512 3456{n}\u202c": "+4915123456{n}",
    "0049 171 39200{n}": "+4917139200{n}",
    "+49 (0)1512 3456{n}": "+4915123456{n}",
    "(+49) 1512 3456{n}": "+4915123456{n}",
    "4,91512E+12": WRONG,  # digits are lost
    "0151 23456{n} / 0160 23456{n}": WRONG,  # two numbers
    "#REF!": WRONG,
    "+4915123\u200b456{n}": WRONG,  # in the middle
}
BIRTHS: Ways = {"1980-02-01": date(1980, 2, 1), **NOTHING}
MAILS: Ways = {
    "p{n}@example.com": "p{n}@example.com",
    "P{n}@Example.com": "P{n}@example.com",
    "mailto:p{n}@example.com": "p{n}@example.com",
    "p{n}@example.com\ufeff": "p{n}@example.com",
    "p{n}.example.com": WRONG,
    "p{n}@example.com, q{n}@example.com": WRONG,
}
NAMES: Ways = {
    "Ona": "Ona", "Jürgen": "Jürgen", "[First Name]": None, "«Vorname»": None, "%%FirstName%%": None, "Unknown": None,
    **NOTHING,
}  # fmt: skip


@dataclass(frozen=True)
class Crm:
    """`columns`: by title, our name and its ways. `ids`: how an id is written, and what it is."""

    ids: tuple[str, str]
    columns: Mapping[str, tuple[str, Ways]]
    delimiter: str
    mark: str = ""  # before the file
    dates: str = ""
    width: int = 0  # each cell is filled up with spaces


SALESFORCE = Crm(
    ids=("0015g00000A{n}AAZ", "0015g00000A{n}AAZ"),
    columns={
        "Vorname": ("first_name", NAMES),
        "E-Mail": ("email", MAILS),
        "Telefon": ("phone", GERMAN_PHONES | NOTHING),
        "Land": (
            "country",
            {"Deutschland": "DE", "D": "DE", "BRD": "DE", "DE\u200b": "DE", "Teutonia": WRONG} | NOTHING,
        ),
        "Sprache": ("locale", {"Deutsch": "de", "German": "de", "de_DE": "de-DE", "Teutonisch": None} | NOTHING),
        "Einwilligung": ("consent", {"Ja": True, "WAHR": True, "Nein": False, "vielleicht": WRONG} | NOTHING),
        "Geburtsdatum": ("date_of_birth", {"01.02.1980": date(1980, 2, 1), "1980-02-01": date(1980, 2, 1)} | NOTHING),
        "Kanal": ("channel", {"email": "email", "None": "none", "Fax": WRONG} | NOTHING),
    },
    delimiter=";",
    mark="\ufeff",
    dates="DD.MM.YYYY",
)
SAP = Crm(
    ids=("'0000100{n}", "0000100{n}"),
    columns={
        "NAME_FIRST": ("first_name", NAMES),
        "SMTP_ADDR": ("email", MAILS),
        "TEL_NUMBER": ("phone", GERMAN_PHONES | NOTHING),
        "LAND1": ("country", {"D": "DE", "DE": "DE", "GB": "GB", "QQ": WRONG} | NOTHING),
        "LANGU": ("locale", {"DE": "de", "vokiečių": "de", "allemand": "de"} | NOTHING),
        "BIRTHDT": ("date_of_birth", {"19800201": date(1980, 2, 1), "00000000": None} | NOTHING),
        "CONSENT": ("consent", {"J": True, "N": False, "1": True, "?": None, "7": WRONG} | NOTHING),
        "TITLE": ("external_ref", {"00{n}": "00{n}", "-": "-", "NULL": "NULL", "1E+05": WRONG, "": None}),
    },
    delimiter="|",
    width=36,
    dates="YYYYMMDD",
)
HUBSPOT = Crm(
    ids=("5100{n}", "5100{n}"),
    columns={
        "First Name": ("first_name", NAMES),
        "Email": ("email", MAILS),
        "Phone Number": (
            "phone",
            {"+52 1 55 1234 5{n}": "+525512345{n}", "＋５２５５１２３４５{n}": "+525512345{n}"} | NOTHING,
        ),
        "Country/Region": ("country", {"Mexico": "MX", "México": "MX", "Mexiko": "MX", "Atlantis": WRONG} | NOTHING),
        "Preferred language": ("locale", {"Spanish": "es", "es-mx": "es-MX", "español": "es"} | NOTHING),
        "Date of birth": ("date_of_birth", BIRTHS),
        "Marketing consent": ("consent", {"Yes": True, "Sí": True, "No": False, "maybe": WRONG} | NOTHING),
        "Time zone": ("timezone", {"America/Mexico City": "America/Mexico_City", "CST": None} | NOTHING),
    },
    delimiter=",",
)


@dataclass(frozen=True)
class Export:
    """`fates`: of each row its id and what each column means; of a rejected one, the columns that must say so."""

    content: bytes
    fates: list[tuple[str, dict[str, Any] | set[str]]]


def export(crm: Crm) -> Export:
    chosen = random.Random(85)  # noqa: S311 -- the same each time
    out, fates = io.StringIO(newline=""), list[tuple[str, dict[str, Any] | set[str]]]()
    writer = csv.writer(out, delimiter=crm.delimiter)
    writer.writerow(["Account-ID", *crm.columns])
    for number in range(ROWS):
        cells = {ours: next(iter(ways.items())) for ours, ways in crm.columns.values()}
        for ours, ways in chosen.sample(list(crm.columns.values()), 2):
            cells[ours] = chosen.choice([way for way in ways.items() if way[1] is not WRONG])
        if number % 9 == 4:
            some = [(ours, way) for ours, ways in crm.columns.values() for way in ways.items() if way[1] is WRONG]
            cells.update([chosen.choice(some)])
        if cells["phone"][0].startswith("0") and cells["country"][1] is not WRONG:  # a national number
            cells["country"] = next(iter(crm.columns[_title(crm, "country")][1].items()))
        three = f"{number:03}"
        written = [one.replace("{n}", three) for one in (crm.ids[0], *(cell for cell, _ in cells.values()))]
        writer.writerow([cell.ljust(crm.width) for cell in written])
        wrong = {ours for ours, (_, meant) in cells.items() if meant is WRONG}
        means = {ours: _of_row(meant, three) for ours, (_, meant) in cells.items()}
        fates.append((crm.ids[1].replace("{n}", three), wrong or means))
    return Export((crm.mark + out.getvalue()).encode(), fates)


def _title(crm: Crm, ours: str) -> str:
    return next(title for title, (name, _) in crm.columns.items() if name == ours)


def _of_row(meant: Any, three: str) -> Any:
    return meant.replace("{n}", three) if isinstance(meant, str) else meant
