"""Names of our columns in other systems and languages.

They are only suggested: a wrong guess would send messages to strangers. `other_names.txt` has them by language; each
language has names for each of these columns: in ASCII, in small letters, as `without_accents` writes them, with _
between words. Names that several languages share are in each of them.

And the names of countries and languages in the languages that we ship (de, en, es, fr, lt), as exports of other systems
have them. `country_names.txt` and `language_names.txt` have them: from the Common Locale Data Repository of Unicode
(LICENSE.unicode), with names that people still use, those of ISO 3166 and German ones without umlauts. As `_compared`
writes them: small letters without accents, _ between words.
"""

import re
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
_NEAR = (
    "id client_id user_id customer_no customer_number client_no client_number reference mail e_mail email_address"
    " mobile telephone tel phone_number given_name forename surname family_name company dob birthday birth_date"
    " gender language lang time_zone country_code type tag"
)
_ENGLISH = frozenset(_NEAR.split())
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
    plain = unicodedata.normalize("NFKD", text.strip().casefold()).translate(_LETTERS)
    return "".join(letter for letter in plain if not unicodedata.combining(letter))


# Letters that Unicode does not take apart into a plain one and its accent.
_LETTERS = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "ħ": "h", "ı": "i", "æ": "ae", "œ": "oe", "þ": "th"})

COUNTRY_NAMES = Path(__file__).with_name("country_names.txt").read_text(encoding="ascii")
LANGUAGE_NAMES = Path(__file__).with_name("language_names.txt").read_text(encoding="ascii")
_LONGEST = 80  # characters; no name is as long
_FILLERS = frozenset(["and", "the", "und", "der", "die", "y", "el", "la", "las", "los", "et", "le", "les", "ir"])


def _compared(name: str) -> str:
    words = re.findall("[a-z0-9]+", without_accents(name))
    return "_".join(word for word in words if word not in _FILLERS)


def _codes_by_name(table: str) -> dict[str, str]:
    found, code = {}, ""
    for word in table.split():
        if word.isupper():
            code = word
        else:
            found[word] = code
    return found


_COUNTRIES, _LANGUAGES = map(_codes_by_name, (COUNTRY_NAMES, LANGUAGE_NAMES))


def country_of(name: str) -> str | None:
    """The alpha-2 code of the country of this name; None: no language has such a name."""
    return _COUNTRIES.get(_compared(name)) if len(name) <= _LONGEST else None


def language_of(name: str) -> str | None:
    """The code of the language of this name."""
    return _LANGUAGES.get(_compared(name)) if len(name) <= _LONGEST else None
