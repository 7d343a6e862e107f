"""What is stored of a line that became no job."""

from onboarding_worker.lists.lines import RefusedLine
from onboarding_worker.lists.store.new_rows import LONGEST_KNOWN, refusal_row


def stored(known: str) -> str | None:
    return refusal_row(1, RefusedLine(2, "C-1", known=known))["known"]


def test_what_became_of_a_known_row_is_never_cut_within_a_command():
    told = f"email changed; the link opens until its end{'.' * 140}"

    assert stored(f"{told}; `onboard customer resend C-1 --same-link` sends it") == told
    assert stored(told) == told
    assert stored("x" * 300) == "x" * LONGEST_KNOWN
    assert stored("") is None
