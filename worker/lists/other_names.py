"""Names of our columns in other systems and languages.

They are only suggested: a wrong guess would send messages to strangers. `other_names.txt` has them by language; each
language has names for each of these columns: in ASCII, in small letters, as `without_accents` writes them, with _
between words. Names that several languages share are in each of them.
"""

import unicodedata
from pathlib import Path


def _read(table: str) -> dict[str, dict[str, str]]:
    found, language = dict[str, dict[str, str]](), ""
    for line in table.splitlines():
        ours, of_a_column, names = line.strip().partition(": ")
        if not of_a_column:
            language = ours
        else:
            found.setdefault(language, {})[ours] = names
    return found


NAMES = _read(Path(__file__).with_name("other_names.txt").read_text(encoding="ascii"))
_ENGLISH = frozenset(
    name
    for line in (
        "id client_id user_id customer_no customer_number client_no client_number reference mail e_mail email_address",
        "mobile telephone tel phone_number given_name forename surname family_name company dob birthday birth_date",
        "gender language lang time_zone country_code type tag",
    )
    for name in line.split()
)
OTHER_NAMES = {name: ours for columns in NAMES.values() for ours, names in columns.items() for name in names.split()}
# A typing error in one of these is found too; other languages' words are too many to be near by anything but chance.
ENGLISH = tuple(name for name in OTHER_NAMES if name in _ENGLISH)
# The name of a person or company in one cell: no single column of ours.
_WHOLE = (
    "name full_name fullname customer_name client_name kundenname nom_complet nom_et_prenom nom_prenom nombre_completo"
    " nombre_y_apellidos nome_completo nome_e_cognome naam volledige_naam klantnaam imie_i_nazwisko vardas_pavarde"
    " vardas_ir_pavarde namn kundnamn"
)
WHOLE_NAMES = frozenset(_WHOLE.split())


def without_accents(text: str) -> str:
    """In small letters, without accents: "Prénom" is prenom."""
    plain = unicodedata.normalize("NFKD", text.strip().lower()).translate(_LETTERS)
    return "".join(letter for letter in plain if not unicodedata.combining(letter))


_LETTERS = str.maketrans({"ł": "l", "ß": "ss", "ø": "o", "æ": "ae", "đ": "d", "ı": "i"})
