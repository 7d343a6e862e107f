"""A stranger's text as one harmless line."""

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
