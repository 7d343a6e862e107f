"""Writes the demo's list and the example list: `python -m tests.lists.make_list`, from the project's root.

The same seed gives the same bytes. All people in the lists are invented: names are drawn from lists, addresses are in
domains reserved for examples (RFC 2606), phone numbers in ranges that regulators reserve for films and books.
"""

import csv
import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

SEED = 20261120
GOOD = 996  # with the three bad rows and the duplicate, 1,000
IN_OCEANIA = 250  # of these, in Australia and New Zealand, so at FrankieOne; every second one has an entity there
COMPANIES = 60
EXAMPLES = 20
DOMAINS = ("example.com", "example.org", "example.net")
FIRST_BIRTH, LAST_BIRTH = date(1948, 1, 1), date(2007, 12, 31)
COLUMNS = (
    "customer_id",
    "kind",
    "first_name",
    "last_name",
    "company_name",
    "email",
    "phone",
    "date_of_birth",
    "country",
    "locale",
    "timezone",
    "channel",
    "entity_id",
    "tags",
)
Row = dict[str, str]


@dataclass(frozen=True)
class Place:
    """Where some customers live. `phone` is a range reserved for fiction, with # for a digit; empty: no phone."""

    country: str
    locale: str
    timezone: str
    names: str
    weight: int
    phone: str = ""


NAMES: dict[str, tuple[str, str]] = {
    "en": (
        "Amelia Oliver Isla Noah Ava George Freya Arthur Grace Leo Ivy Oscar Matilda Henry Ruby Finn Aoife Jack",
        "Ashdown Barlow Carrick Denholm Eastwood Fairley Garrick Hollis Kersey Langton Marlow O'Dell Penrose",
    ),
    "de": (
        "Anna Lukas Jürgen Mia Felix Käthe Jonas Lena Björn Sophie Paul Änne Max Clara Moritz Greta Emil Ida",
        "Ahlers Böttcher Dürr Ebner Fährmann Grünwald Hölzl Kästner Lindner Möller Reinhardt Strauß Voß Zöllner",
    ),
    "es": (
        "Lucía Hugo Sofía Mateo Martina Álvaro Inés Diego Nerea Íñigo Carmen Pablo Elena Raúl Ximena Emilio",
        "Arrieta Báez Cañizares Domínguez Echeverría Ferrer Ibáñez Luján Muñoz Núñez Peñalver Quiroga Yáñez",
    ),
    "fr": (
        "Zoé Hugo Chloé Léo Inès Gaël Maëlle Noé Élise Théo Anaïs Jules Océane Rémi Solène Loïc Agnès Cyril",
        "Aubert Beaumont Châtelain Delorme Évrard Fournier Guérin Lefèvre Maçon Noël Perrault Rousseau",
    ),
    "lt": (
        "Ieva Matas Ugnė Jonas Gabija Lukas Emilija Dovydas Živilė Šarūnas Eglė Mindaugas Rūta Ąžuolas",
        "Adomaitis Bagdonas Čepaitis Daukša Grigaitis Jankauskas Kairys Mažeika Petrauskas Šimkus Žukas",
    ),
    "it": ("Giulia Luca Niccolò Sara Marco Chiara Elia Bianca", "Baldini Conti Ferrò Greco Marchetti"),
    "pl": ("Zofia Łukasz Maja Józef Hanna Wojciech Oliwia", "Błaszczyk Dąbek Górski Jaźwiński Wójtowicz"),
    "pt": ("João Inês Caio Letícia Tiago Conceição Davi", "Araújo Brandão Falcão Guimarães Simões"),
    "sv": ("Åsa Elsa Nils Maja Göran Ebba Sixten", "Åkerlund Björklund Ekström Lindqvist Sjögren"),
}
ELSEWHERE = (
    Place("GB", "en-GB", "Europe/London", "en", 10, "+447700900###"),
    Place("IE", "en-IE", "Europe/Dublin", "en", 5),
    Place("US", "en-US", "America/New_York", "en", 8, "+120255501##"),
    Place("DE", "de", "Europe/Berlin", "de", 14, "+4917139200##"),
    Place("AT", "de-AT", "Europe/Vienna", "de", 6),
    Place("CH", "de-CH", "Europe/Zurich", "de", 4),
    Place("ES", "es", "Europe/Madrid", "es", 11),
    Place("MX", "es-MX", "America/Mexico_City", "es", 6),
    Place("FR", "fr", "Europe/Paris", "fr", 11, "+33639980###"),
    Place("BE", "fr-BE", "Europe/Brussels", "fr", 4),
    Place("LT", "lt", "Europe/Vilnius", "lt", 14),
    Place("IT", "it", "Europe/Rome", "it", 4),
    Place("PL", "pl", "Europe/Warsaw", "pl", 3),
    Place("BR", "pt-BR", "America/Sao_Paulo", "pt", 3),
    Place("SE", "sv", "Europe/Stockholm", "sv", 3, "+4670174061#"),
)
OCEANIA = (
    Place("AU", "en-AU", "Australia/Sydney", "en", 7, "+61491570###"),
    Place("NZ", "en-NZ", "Pacific/Auckland", "en", 3),
)
_WITHOUT_ACCENTS = str.maketrans(
    "áäąàâãåćčçéèêëęėíïìîłńñóöòôõśšúüùûūųýźžż'", "aaaaaaaccceeeeeeiiiilnnooooossuuuuuuyzzz-"
)


def customers(generator: random.Random, *, good: int, in_oceania: int, companies: int, prefix: str) -> list[Row]:
    """Good rows in a random order; every second row in Oceania has an entity id of FrankieOne."""
    places = [
        *generator.choices(ELSEWHERE, [place.weight for place in ELSEWHERE], k=good - in_oceania),
        *generator.choices(OCEANIA, [place.weight for place in OCEANIA], k=in_oceania),
    ]
    firms = [index < companies for index in range(good)]  # only elsewhere: FrankieOne is used for people
    known = [index % 2 == 0 for index in range(good)]
    drawn = list(zip(places, firms, known, strict=True))
    generator.shuffle(drawn)
    return [
        _company(row) if firm else row
        for number, (place, firm, entity) in enumerate(drawn, start=1)
        for row in [_customer(generator, place, f"{prefix}-{number:05}", known=entity and place in OCEANIA)]
    ]


def _company(row: Row) -> Row:
    firm = {"kind": "company", "company_name": f"{row['last_name']} & Co", "channel": "email"}
    return row | firm | {"first_name": "", "last_name": "", "date_of_birth": ""}


def _channel(generator: random.Random, phone: str) -> str:
    """Mostly email; of the customers with a phone one in four gets a text instead, one in eight both."""
    return generator.choice(("email", "email", "email", "email", "email", "sms", "sms", "both")) if phone else "email"


def _customer(generator: random.Random, place: Place, customer_id: str, *, known: bool) -> Row:
    first, last = (generator.choice(names.split()) for names in NAMES[place.names])
    phone = "".join(str(generator.randrange(10)) if sign == "#" else sign for sign in place.phone)
    lived = (LAST_BIRTH - FIRST_BIRTH).days
    return {
        "customer_id": customer_id,
        "kind": "individual",
        "first_name": first,
        "last_name": last,
        "company_name": "",
        "email": _email(first, last, customer_id, generator.choice(DOMAINS)),
        "phone": phone,
        "date_of_birth": (FIRST_BIRTH + timedelta(days=generator.randrange(lived))).isoformat(),
        "country": place.country,
        "locale": place.locale,
        "timezone": place.timezone,
        "channel": _channel(generator, phone),
        "entity_id": str(uuid.UUID(int=generator.getrandbits(128), version=4)) if known else "",
        "tags": generator.choice(("", "", "spring", "spring;branch", "web")),
    }


def _email(first: str, last: str, customer_id: str, domain: str) -> str:
    name = f"{first}.{last}".lower().replace("ß", "ss").translate(_WITHOUT_ACCENTS)
    return f"{name}.{customer_id.rpartition('-')[2]}@{domain}"


def demo_rows() -> Iterator[Row]:
    """The demo's list: good rows, and among them three bad rows and one duplicate."""
    generator = random.Random(SEED)  # noqa: S311 -- the same bytes each time
    rows = customers(generator, good=GOOD, in_oceania=IN_OCEANIA, companies=COMPANIES, prefix="demo")
    for place, bad in (
        (140, {"customer_id": "demo-bad-1", "email": "no-at-sign.example.com", "channel": "email"}),
        (470, {"customer_id": "demo-bad-2", "channel": "letter"}),
        (810, {"customer_id": "demo-bad-3", "country": "Teutonia", "phone": "", "channel": "email"}),
    ):
        rows.insert(place, rows[place] | bad)
    rows.insert(900, dict(rows[300]))
    yield from rows


def example_rows() -> Iterator[Row]:
    """The example list: good rows only, as a start for a real list."""
    generator = random.Random(SEED + 1)  # noqa: S311
    yield from customers(generator, good=EXAMPLES, in_oceania=EXAMPLES // 4, companies=2, prefix="C")


def write(path: Path, rows: Iterator[Row]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    root = Path(__file__).parents[2]
    write(root / "onboarding_sandbox" / "demo" / "customers.csv", demo_rows())
    write(root / "examples" / "customers.csv", example_rows())
