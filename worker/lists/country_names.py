"""The names of countries in the languages that we ship (de, en, es, fr, lt), as exports of other systems have them.

`country_names.txt` has them: from the Common Locale Data Repository of Unicode (LICENSE.unicode), with names that
people still use, those of ISO 3166 and German ones without umlauts. As `_compared` writes them: small letters without
accents, _ between words.
"""

import re
from pathlib import Path

from worker.lists.other_names import without_accents

NAMES = Path(__file__).with_name("country_names.txt").read_text(encoding="ascii")
_LONGEST = 80  # characters; no name is as long
_FILLERS = frozenset(["and", "the", "und", "der", "die", "y", "el", "la", "las", "los", "et", "le", "les", "ir"])


def _compared(name: str) -> str:
    words = re.findall("[a-z0-9]+", without_accents(name))
    return "_".join(word for word in words if word not in _FILLERS)


def _read(table: str) -> dict[str, str]:
    found, code = {}, ""
    for word in table.split():
        if word.isupper():
            code = word
        else:
            found[word] = code
    return found


_CODE_OF = _read(NAMES)


def code_of(name: str) -> str | None:
    """The alpha-2 code of the country of this name; None: no language has such a name."""
    return _CODE_OF.get(_compared(name)) if len(name) <= _LONGEST else None
