"""Which names are none, which names of strangers a message repeats, and what a mail program would read in a text. Pure.

Programs write a word where there is no value, and wrong encodings spoil letters. A greeting with it is a joke about the
sender, and a provider would check a person of that name.

A name is whatever a stranger typed into a form, and the message goes out in the operator's name, to an address that
the same stranger chose. So what looks like an address, a number to call or a sentence is not repeated: the greeting is
the neutral one then. Tests are made on the `folded` text: `evil．com` is a host too. A real name that looks like one of
these loses its greeting, and nothing else.
"""

import re
import unicodedata

from worker.core.foundation.notation import plain

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


LENGTH = 60
# Browsers read these as the dot of a host name (UTS 46), besides those that become a dot by NFKC.
_DOTS = str.maketrans("\u3002\uff61", "..")
# Letters and symbols without a shape: they would split a host for us, and not for its reader.
_FILLERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")

LONGEST = 40  # characters of a given or a family name; wide ones, of which a sentence needs few, count twice
# A name of plain letters: two of these have nothing that the tests below look for.
_WORD = re.compile(rf"[A-Za-z]{{1,{LONGEST}}}")
MOST_WORDS = 8  # of both
MOST_DIGITS = 3  # "John 3rd"; with more it may be a number to call
MOST_DIGITS_OF_COMPANY = 4  # "Studio 1984"
READ = 200  # characters of a company's name that are tested; fewer are shown
# With so many words, one in small letters makes a sentence, unless it is short or one of PARTICLES.
SENTENCE_WORDS = 4
SHORT_WORD = 3
PARTICLES = re.compile("binti?|dalla|degli|dela|dell[aeio]|kyzy|ogl[uy]|qizi|sant[ao]?|ugli|uulu|vande[nr]")
# Mail programs and phones make links of these.
_ADDRESS = r"://|@|www\.|\w\.\w{2}|[a-z][a-z0-9+.-]*:\S"
_MONEY = "[$\u00a2-\u00a5\u058f\u060b\u09f2\u09f3\u0e3f\u20a0-\u20cf]"
# A host that only a person reads: letters that stand alone, a dot that does, or the word for it. The alphabets whose
# names are not written so; three initials are usual.
_LETTER = "[a-zα-ωа-я0-9]"
_SPACED = rf"(?<![^\W_]){_LETTER}(?:[\W_]+{_LETTER}){{3}}(?![^\W_])|\s\.(?:\s|\w)|\w\s*[\[({{<]?\bdot\b[\])}}>]?\s*\w"
_NO_PERSON = re.compile(
    rf"{_ADDRESS}|{_SPACED}|{_MONEY}|[/:;!?,\u00a1\u00bf\u060c\u061b\u061f\u3001]|(?:\w{{5}}|\d)\.", re.I
)
_NO_COMPANY = re.compile(rf"{_ADDRESS}|{_SPACED}|{_MONEY}|(?:\w{{5}}|\d)[.!?]\s+\w", re.I)
_RUNS = re.compile(r"\d+")
# "GmbH & Co.KG" is usual, and .kg is a country's domain.
_LEGAL_FORM = re.compile(r"\b(Co|Pty|Pte|mbH)\.(?=(?:Inc|KG|KGaA|Limited|Ltd|OHG)\b)", re.I)


def folded(text: str) -> str:
    """The text to test for what it may become: wide and styled letters as plain ones, each dot of a host name as ".",
    without accents and without characters that have no shape. `text` is short, and `plain`."""
    if text.isascii():
        return text
    text = unicodedata.normalize("NFKD", text).translate(_DOTS)
    return "".join(char for char in text if char not in _FILLERS and unicodedata.category(char)[0] not in "MC")


def person_names(first: str, last: str) -> tuple[str, str]:
    """The given and the family name as a message repeats them; both empty if they look like something else. One that
    stands for no name is empty."""
    if _WORD.fullmatch(first) and _WORD.fullmatch(last):
        return real_names(first, last)
    first, last = plain(first, most=LENGTH), plain(last, most=LENGTH)
    together = folded(f"{first} {last}")
    if max(_width(first), _width(last)) > LONGEST or _NO_PERSON.search(together):
        return "", ""
    words = together.split()
    if len(words) > MOST_WORDS or _digits(together) > MOST_DIGITS:
        return "", ""
    small = (word for word in words if len(word) > SHORT_WORD and word.islower())
    if len(words) >= SENTENCE_WORDS and not all(map(PARTICLES.fullmatch, small)):
        return "", ""
    return real_names(first, last)


def company_name(text: str) -> str:
    """The company's name as a message repeats it; empty if it looks like something else."""
    name = _LEGAL_FORM.sub(r"\1. ", plain(text, most=READ))
    read = folded(name)
    digits = _digits(read)
    split = digits >= MOST_DIGITS_OF_COMPANY and len(_RUNS.findall(read)) > 1  # 1-800-…
    if _NO_COMPANY.search(read) or digits > MOST_DIGITS_OF_COMPANY or split:
        return ""
    return real_name(plain(name, most=LENGTH))


def _width(text: str) -> int:
    return len(text) if text.isascii() else len(text) + sum(unicodedata.east_asian_width(char) in "WF" for char in text)


def _digits(text: str) -> int:
    return sum(map(str.isdigit, text))
