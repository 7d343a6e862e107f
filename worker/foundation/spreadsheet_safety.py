"""Text that a spreadsheet shows and never runs as a formula."""

import re

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
