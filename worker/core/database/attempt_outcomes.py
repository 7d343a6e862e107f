"""What an attempt's `outcome` and `found` say, besides the kinds of problems. Who only reads attempts needs no more."""

from collections.abc import Sequence

from worker.core.model.reasons import Reason

DONE = "done"
NOT_SENT = "not_sent"  # the row was released before its call was made, which was certainly not carried out
UNREACHABLE = Reason.UNREACHABLE.value  # no request was sent, so the call was certainly not carried out
LATE = "late"  # the lease was lost before the result came
MORE = "more"  # the outcome of a look-up that must go on with the next page
UNANSWERED = "unanswered"  # … whose answer is of no use: its worker died, or the call's own answer came first


def references(found: Sequence[str]) -> str:
    """The references as one text. References that do not fit into the column as a whole are left out."""
    text = " ".join(found)
    return text if len(text) <= 400 else text[:400].rpartition(" ")[0]
