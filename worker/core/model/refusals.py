"""Why a provider refused a customer, or has doubts: its codes, as they are kept, and what a customer can do about them.

Which refusals are followed by one more session, `[retry_after_denial]` says. Pure; docs/reference/refused.md.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum
from typing import Any

MOST = 12  # codes of one session
LONGEST = 48  # characters of one code: iDenfy's own have at most 40
STORED_LENGTH = MOST * (LONGEST + 1)
# A tag that speaks of fraud is kept with this before it: it stands against another session unless it is named itself.
FRAUD = "fraud:"
_CODE = re.compile(rf"[A-Z][A-Z0-9_]{{1,{LONGEST - len(FRAUD) - 1}}}", re.ASCII)


class Advice(StrEnum):
    """What a message asks a customer to do. `NONE`: there is nothing that the customer could do better."""

    DOCUMENT_PHOTO = "photo"
    DOCUMENT = "document"
    FACE = "face"
    DETAILS = "details"
    NONE = ""


_PHOTO, _DOCUMENT, _FACE, _DETAILS = Advice.DOCUMENT_PHOTO, Advice.DOCUMENT, Advice.FACE, Advice.DETAILS
# iDenfy's codes (documentation.idenfy.com, Vocabulary and Suspicions), without those that say that all is well.
KNOWN: Mapping[str, Advice] = {
    **dict.fromkeys(("DOC_NOT_FOUND", "DOC_NOT_FULLY_VISIBLE", "DOC_FACE_NOT_FOUND", "DOC_TOO_BLURRY"), _PHOTO),
    **dict.fromkeys(("DOC_GLARED", "DOC_FACE_GLARED", "DOC_SIDE_MISMATCH"), _PHOTO),
    **dict.fromkeys(("MRZ_NOT_FOUND", "MRZ_OCR_READING_ERROR", "BARCODE_NOT_FOUND"), _PHOTO),
    **dict.fromkeys(("DOC_EXPIRED", "DOC_NOT_SUPPORTED", "DOC_NOT_ALLOWED", "DOC_TYPE_MISMATCH"), _DOCUMENT),
    **dict.fromkeys(("DOC_SUBTYPE_MISMATCH", "DOC_DAMAGED", "COUNTRY_MISMATCH", "COUNTRY_NOT_SUPPORTED"), _DOCUMENT),
    **dict.fromkeys(("NO_FACE_FOUND", "TOO_MANY_FACES", "FACE_TOO_BLURRY", "FACE_GLARED"), _FACE),
    **dict.fromkeys(("FACE_UNCERTAIN", "FACE_MISMATCH"), _FACE),
    **dict.fromkeys(("NAME", "SURNAME", "FULL_NAME", "DATE_OF_BIRTH", "NATIONALITY", "DOC_INFO_MISMATCH"), _DETAILS),
    **dict.fromkeys(("PERSONAL_NUMBER", "DOCUMENT_NUMBER", "SEX", "DOC_NAME_ERROR", "DOC_SURNAME_ERROR"), _DETAILS),
    **dict.fromkeys(("DOC_DOB_ERROR", "DOC_NUMBER_ERROR", "DOC_PERSONAL_NUMBER_ERROR", "DOC_SEX_ERROR"), _DETAILS),
    **dict.fromkeys(("DOC_NATIONALITY_ERROR", "DOC_EXPIRY_ERROR", "DOC_DATE_OF_ISSUE_ERROR"), _DETAILS),
    **dict.fromkeys(("DOC_ERROR", "FACE_ERROR", "AUTO_UNVERIFIABLE", "DOC_PERSONAL_CODE_INVALID"), Advice.NONE),
    **dict.fromkeys(("MRZ_INVALID", "EID_FAILED", "NFC_INIT_FAILED", "NFC_FAILED", "NFC_TIMEOUT"), Advice.NONE),
    **dict.fromkeys(("UNDER_AGE", "OVER_AGE", "UNKNOWN_AGE"), Advice.NONE),
    # These speak of fraud, wherever they stand.
    **{
        f"{FRAUD}{tag}": Advice.NONE
        for tag in (
            *("DOC_FAKE", "DOC_SPOOF_DETECTED", "FAKE_FACE", "FACE_SUSPECTED", "FACE_BLACKLISTED"),
            *("DOC_FACE_BLACKLISTED", "FACE_IN_BLACKLIST", "DOC_FACE_IN_BLACKLIST", "DATA_BLACKLISTED"),
            *("DATA_IN_BLACKLIST", "DUPLICATE_FACE", "DUPLICATE_DOC_FACE", "DUPLICATE_PERSONAL_DATA"),
            *("VIRTUAL_CAMERA", "PORTRAIT_SUBSTITUTION", "ADDRESS_UNVERIFIED"),
        )
    },
}
WELL = frozenset({"FACE_MATCH", "DOC_VALIDATED", "FACE_NOT_CHECKED", "FACE_NOT_ANALYSED", "DOC_NOT_ANALYSED"})


def codes(given: Iterable[Any], fraud: Iterable[Any] = ()) -> tuple[str, ...]:
    """The codes among what a provider has sent, each once and in its order: others may be free text, with a name in
    it. `fraud`: those that came as tags of fraud."""
    found = [f"{FRAUD}{code}" for code in _good(fraud)]
    found += [f"{FRAUD}{code}" if f"{FRAUD}{code}" in KNOWN else code for code in _good(given)]
    return tuple(dict.fromkeys(found))[:MOST]


def code_in_words(text: str) -> tuple[str, ...]:
    """The code that a field of free words holds: a word alone may as well be a name."""
    return codes([text] if "_" in text or text in KNOWN else [])


def _good(given: Iterable[Any]) -> Iterable[str]:
    for one in given:
        if isinstance(one, str) and _CODE.fullmatch(one) and one not in WELL:
            yield one


def stored(reasons: Iterable[str]) -> str:
    return " ".join(reasons)


def of_stored(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def plain(code: str) -> str:
    """The code as the provider writes it, and as the configuration names it."""
    return code.removeprefix(FRAUD)


def asks_again(reasons: Iterable[str], named: Collection[str]) -> bool:
    """Whether a refusal for these reasons is followed by one more session: one of them is named, and none that speaks
    of fraud is not."""
    found = {*reasons}
    return any(plain(one) in named for one in found) and not any(
        one.startswith(FRAUD) and plain(one) not in named for one in found
    )


def advice_of(reasons: Iterable[str]) -> str:
    """What a message asks of the customer, as words with a space between them: the values of `Advice`."""
    found = [KNOWN.get(one, Advice.NONE) for one in reasons]
    return " ".join(one for one in Advice if one in found and one)
