"""What a list's own checks make of a line."""

from onboarding_worker.lists.lines import AcceptedLine, Line, RefusedLine

ACCEPTED, REJECTED, DUPLICATE = "accepted", "rejected", "duplicate"


def kind_of(line: Line) -> str:
    if isinstance(line, AcceptedLine):
        return ACCEPTED
    assert isinstance(line, RefusedLine)
    return REJECTED if line.duplicate_of is None else DUPLICATE
