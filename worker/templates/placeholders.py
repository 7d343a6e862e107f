"""What programs write where there is no value, and what spoiled encodings make of a name. Pure.

A greeting with it is a joke about the sender, and a provider would check a person of that name.
"""

import re

NAMES = ("first_name", "last_name", "company_name")  # the columns
_BRACKETS = "()[]<>{}'\" "
# Of spreadsheets' formulas.
SHEET_ERRORS = frozenset(
    {
        *("#N/A", "#REF!", "#NAME?", "#VALUE!", "#DIV/0!", "#NULL!", "#NUM!", "#SPILL!", "#CALC!", "#ERROR!"),
        *("#FIELD!", "#BLOCKED!", "#CONNECT!", "#UNKNOWN!", "#BUSY!", "#GETTING_DATA"),
    }
)
_WORDS = frozenset(
    {"null", "nil", "none", "nan", "na", "n/a", "undefined", "\\n", *(error.lower() for error in SHEET_ERRORS)}
)
_LONGEST_WORD = 20  # with brackets
# People have these names: beside a real one, and written as it is. `Ona NULL` has no last name.
_FIRST, _LAST = frozenset({"nan", "na"}), frozenset({"null", "nan", "na"})
# A template's variable that nobody has filled in: {{first_name}}, ${name}, %FIRSTNAME%, *|FNAME|*, [NAME], <%= name %>.
_VARIABLE = re.compile(r"\{\{|\}\}|\$\{|\*\||\|\*|<%|%>|\A(?:\{.*\}|%\w+%|\[[A-Z_ .]+\]|<+[\w .]+>+|\$\w+)\Z")
_SIGNS = frozenset("{}$*|<>%[")  # each variable has one
# What Windows-1252 shows for the second byte of a letter in UTF-8: MÃ¼ller. One Ð or Î before it may be a letter.
_SECOND = re.escape("".join({bytes([byte]).decode("cp1252", "replace") for byte in range(0x80, 0xC0)} - {"\ufffd"}))
_SPOILED = re.compile(rf"\ufffd|[ÃÄÅ][{_SECOND}]|(?:[ÎÏÐÑ][{_SECOND}]){{2}}|â€|á[º»][{_SECOND}]")


def is_no_value(text: str) -> bool:
    """Whether a program wrote the text where it had no value: `NULL`, `\\N`, `(null)`, `nan`."""
    return len(text) <= _LONGEST_WORD and text.strip(_BRACKETS).lower() in _WORDS


def is_spoiled(text: str) -> bool:
    """Whether letters of the text were read in a wrong encoding."""
    return not text.isascii() and _SPOILED.search(text) is not None


def real_names(first: str, last: str) -> tuple[str, str]:
    """The first and the last name, each "" if it is none. Christopher Null is a person; NULL NULL is not."""
    kept_first, kept_last = real_name(first), real_name(last)
    if kept_first and not kept_last and _may_be(last, _LAST, beside=first):
        return first, last
    if kept_last and not kept_first and _may_be(first, _FIRST, beside=last):
        return first, last
    return kept_first, kept_last


def real_name(text: str) -> str:
    """The name; "" if it is none: a word for no value, signs alone, a template's variable, spoiled letters."""
    if is_no_value(text) or is_spoiled(text):
        return ""
    if text[:1].isalpha() and _SIGNS.isdisjoint(text):  # the names of most people
        return text
    return "" if _VARIABLE.search(text) or not any(map(str.isalnum, text)) else text


def _may_be(text: str, names: frozenset[str], *, beside: str) -> bool:
    if text.lower() not in names:
        return False
    return beside.isupper() if text.isupper() else beside.islower() if text.islower() else text.istitle()
