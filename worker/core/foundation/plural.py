"""Numbers with their nouns, for people, and lists of names."""

from collections.abc import Sequence


def counted(number: int, noun: str, plural: str = "") -> str:
    """`1 row`, `2 rows`, `1,000 rows`. `plural`: where it is not the noun with an s."""
    return f"1 {noun}" if number == 1 else f"{number:,} {plural or f'{noun}s'}"


def are(number: int) -> str:
    """`is` after one, `are` after any other number."""
    return "is" if number == 1 else "are"


def listed_in_words(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))
