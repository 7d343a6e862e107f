"""Which names of strangers a message repeats, and what a mail program would read in a text. Pure.

A name is whatever a stranger typed into a form, and the message goes out in the operator's name, to an address that
the same stranger chose. So what looks like an address, a number to call or a sentence is not repeated: the greeting is
the neutral one then. Tests are made on the `folded` text: `evil．com` is a host too. A real name that looks like one of
these loses its greeting, and nothing else.
"""

import re
import unicodedata

from worker.core.foundation.harmless_text import plain
from worker.templates.placeholders import real_name, real_names

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
    if len(words) >= SENTENCE_WORDS and any(map(_is_small, words)):
        return "", ""
    return real_names(first, last)


def company_name(text: str) -> str:
    """The company's name as a message repeats it; empty if it looks like something else."""
    if not text:
        return ""
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


def _is_small(word: str) -> bool:
    return len(word) > SHORT_WORD and word.islower() and not PARTICLES.fullmatch(word)
