"""Text that a spreadsheet shows and never runs as a formula."""

# A cell that starts with one of these is a formula, or becomes one once leading white space is dropped.
# The wide forms are what an East Asian keyboard types, and Excel treats them like the narrow ones.
_STARTS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def spreadsheet_safe(text: str) -> str:
    """The text, with an apostrophe before it if a spreadsheet would run it as a formula."""
    return "'" + text if text.startswith(_STARTS_A_FORMULA) else text
