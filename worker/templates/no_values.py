"""What stands for no value: words and signs that are written where there is none, what a merge has left, and letters
that a wrong encoding has spoiled. A greeting with one is a joke, and a provider would check a person of that name."""

import re
from itertools import product

# Of spreadsheets' formulas.
_ERRORS = "#REF! #NAME? #VALUE! #DIV/0! #NULL! #NUM! #SPILL! #CALC! #ERROR! #FIELD! #BLOCKED! #CONNECT! #BUSY!"
SHEET_ERRORS = frozenset([*_ERRORS.split(), "#UNKNOWN!", "#GETTING_DATA"])
# The error of a look-up that found nothing, in the languages of spreadsheets.
LOOKUPS = frozenset({"#n/a", "#nv", "#n/d"})
# In small letters, a space as _; \n is a database's mark. Those of each language that we ship.
_WRITTEN = r"""null nil none nan na n/a n.a undefined \n unknown tbd no_value not_available not_applicable not_provided
not_specified not_given none_given unbekannt k.a k._a keine_angabe keine_angaben nicht_angegeben nicht_bekannt
nicht_vorhanden inconnu inconnue non_renseigné non_disponible non_communiqué sans_objet
desconocido desconocida ninguno ninguna no_disponible no_aplica no_especificado sin_datos
nežinoma nežinomas nėra nenurodyta nėra_duomenų"""
WORDS = frozenset(word.replace("_", " ") for word in _WRITTEN.split()) | LOOKUPS
# A text that begins with one of these is a word only if it begins with one of STARTS, in any case.
PLAIN = frozenset("+0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
STARTS = frozenset(
    "".join(start) for word in WORDS for start in product(*((letter, letter.upper()) for letter in word[:3]))
) | {"000", "00.", "00-", "00/"}  # no date, as some programs write it
_AROUND = "()[]<>{}'\"= -–—_.?*/"
_SIGNS_ALONE = re.compile(r"(?:(?![\x00-\x1f\x7f-\x9f\ud800-\udfff])[\W_])*")
LONGEST = 24  # characters of a word, with the signs around it
# People have these names: beside a real one, and written as it is. `Ona NULL` has no last name.
_FIRST, _LAST = frozenset({"nan", "na"}), frozenset({"null", "nan", "na"})
# What a merge has left: {{first_name}}, ${name}, *|FNAME|*, <%= name %> anywhere; else the whole text: [First Name],
# «First_Name», ##FNAME##, %%FirstName%%, -firstname-, $name, [object Object]. `[solidcore]` is a company.
_VARIABLE = re.compile(
    r"\{\{|\}\}|[$#]\{|\*\||\|\*|<%|%>|\A(?:\{.*\}|\[(?:[A-Z]+|\[.*\]|[^\[\]]*[ _.=:,][^\[\]]*)\]|«[A-Za-zÀ-ÿ][\w .]*»"
    r"|<+[\w .]+>+|([%~#@_-]+)[^\W\d_][\w .]*\1|\$\w+)\Z"
)
_TITLES = {f"{whose}{sign}name" for whose in ("first", "last", "given", "family", "company") for sign in ("", *" _-")}
_TITLES |= {"vorname", "nachname", "familienname", "firmenname", "prénom", "apellido", "apellidos", "vardas", "pavardė"}
_SIGNS = frozenset("{}$*|<>%[")  # each variable in the middle of a text has one
# What Windows-1252 shows for the second byte of a letter in UTF-8, MÃ¼ller. One Ð or Î before it may be a letter.
_SECOND = re.escape("".join({bytes([byte]).decode("cp1252", "replace") for byte in range(0x80, 0xC0)} - {"\ufffd"}))
SPOILED = re.compile(rf"\ufffd|[ÃÄÅ][{_SECOND}]|(?:[ÎÏÐÑ][{_SECOND}]){{2}}|â€|á[º»][{_SECOND}]")


def is_no_value(text: str) -> bool:
    """Whether the text is a word for no value, `NULL`, `\\N`, `(none)`, or signs alone."""
    if text[:1] in PLAIN and text[:3] not in STARTS and text[-1:].isalnum():  # most texts
        return False
    if len(text) <= LONGEST and text.strip(_AROUND).lower() in WORDS:
        return True
    return _SIGNS_ALONE.fullmatch(text) is not None


def real_names(first: str, last: str) -> tuple[str, str]:
    """The first and the last name, each "" if it is none. Christopher Null is a person; NULL NULL is not."""
    kept_first, kept_last = real_name(first), real_name(last)
    if kept_first and not kept_last and _may_be(last, _LAST, beside=first):
        return first, last
    if kept_last and not kept_first and _may_be(first, _FIRST, beside=last):
        return first, last
    return kept_first, kept_last


def real_name(text: str) -> str:
    """The name; "" if it is none."""
    return "" if not text or is_no_value(text) or is_left_over(text) else text


def is_left_over(text: str) -> bool:
    """Whether the text is a placeholder or a title, or has letters that were spoiled."""
    if SPOILED.search(text) or text.strip("[]").lower() in _TITLES:
        return True
    return not (text[:1].isalpha() and _SIGNS.isdisjoint(text)) and _VARIABLE.search(text) is not None


def _may_be(text: str, names: frozenset[str], *, beside: str) -> bool:
    alike = beside.isupper() if text.isupper() else beside.islower() if text.islower() else text.istitle()
    return text.lower() in names and alike
