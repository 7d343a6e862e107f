"""A stranger's text made harmless where people read it: on one line, and in a cell of a spreadsheet."""

import re
import unicodedata


def plain(text: str, *, most: int) -> str:
    """`text` on one line, without control, bidi, zero-width and other invisible characters, cut to `most`."""
    if not text.isprintable():
        text = "".join(map(_visible, text))
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def _visible(char: str) -> str:
    match unicodedata.category(char):
        case "Cc" | "Zl" | "Zp" | "Zs":
            return " "
        case "Cf" | "Cs" | "Co" | "Cn":
            return ""
        case _:
            return char


def printable(text: str, most: int) -> str:
    """The text in one line, as a log of text lines can hold it: what cannot be shown becomes `?`."""
    return (text if text.isprintable() else "".join(one if one.isprintable() else "?" for one in text))[:most]


# A cell that starts with one of these is a formula. Excel treats the wide ones, which an East Asian keyboard types,
# like the narrow ones; the others become narrow where a program normalises text (NFKC).
STARTS = "=+-@" + "＝＋－＠" + "﹦﹢﹣﹫" + "⁼₌⁺₊⩵⩶﬩"
# What separates cells depends on the country and the program that opens the file, not on the file. So a cell may begin
# behind each of these, even in quotes, which count only at a cell's beginning.
SEPARATORS = ",;|\t\r\n"
# White space, invisible characters and quotes between the beginning and the sign: programs drop some of them.
_FORMULA = re.compile(rf"(\A|[{SEPARATORS}])(?=[^\w'{SEPARATORS}]*[{re.escape(STARTS)}])|\A(?=[\t\r\n])")


def spreadsheet_safe(text: str) -> str:
    """The text, with an apostrophe before each part of it that a spreadsheet would run as a formula."""
    return _FORMULA.sub(r"\1'", text)


_GUARD = re.compile(rf"(\A|[{SEPARATORS}])'(?=[^\w'{SEPARATORS}]*[{re.escape(STARTS)}])|\A'(?=[\t\r\n])")


def unguarded(text: str) -> str:
    """The text that `spreadsheet_safe` made this of."""
    return _GUARD.sub(lambda found: found[1] or "", text)
