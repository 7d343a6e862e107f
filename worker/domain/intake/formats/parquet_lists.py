"""How many values the longest list in a column of a Parquet file has, by the levels in its pages.

The footer and the headers of pages say how many values and rows there are; a hostile file lies about the rows. A few
bytes of levels can be one row of a billion values, and pyarrow makes all of a row at once.
"""

_LONGEST_LEVELS = 1 << 20  # bytes in one page, which are eight million values at most


class BadLevels(Exception):
    """The levels are none, or are longer than those of any list."""


class Lists:
    """The lists of one column, page by page. A level of 0 begins a row; any other one goes on with it."""

    def __init__(self, deepest: int) -> None:
        """`deepest`: the highest level that the column may have."""
        self._bits = deepest.bit_length()
        self.longest = self._open = 0

    def add(self, levels: bytes, values: int) -> None:
        """The levels of so many values: runs of one level, or levels of a few bits each. Raises BadLevels."""
        if len(levels) > _LONGEST_LEVELS:
            raise BadLevels
        at = 0
        try:
            while values > 0:
                head, at = _number(levels, at)
                if head & 1:
                    packed = levels[at : at + (head >> 1) * self._bits]
                    taken = min(values, len(packed) * 8 // self._bits)
                    at += max(1, len(packed))
                    self._each(packed, taken)
                else:
                    taken = min(values, head >> 1)
                    self._run(levels[at], taken)
                    at += 1
                values -= taken
        except IndexError:
            raise BadLevels from None

    def _run(self, level: int, count: int) -> None:
        if count:
            self._open = self._open + count if level else 1
            self.longest = max(self.longest, self._open)

    def _each(self, packed: bytes, count: int) -> None:
        bits = self._bits
        text = f"{int.from_bytes(packed, 'little'):0{len(packed) * 8}b}"[::-1][: count * bits]
        if bits > 1:
            text = "".join("1" if "1" in text[at : at + bits] else "0" for at in range(0, len(text), bits))
        further, *begun = map(len, text.split("0"))
        self._run(1, further)
        for length in begun:
            self._run(0, 1)
            self._run(1, length)


def _number(content: bytes, at: int) -> tuple[int, int]:
    found = 0
    for shift in range(0, 35, 7):
        byte = content[at]
        at += 1
        found |= (byte & 127) << shift
        if byte < 128:
            return found, at
    raise BadLevels
