"""The rows of a batch that a pause holds back, in the words of all places that count them."""

from worker.foundation.plural import counted


def rows_left(left: int) -> str:
    """`35 rows wait for their session or first message`. `left` is `Facts.left`: not among them are held rows, which
    wait for a person, and rows that another list serves."""
    if left == 1:
        return "1 row waits for its session or first message"
    return f"{counted(left, 'row')} wait for their session or first message"
