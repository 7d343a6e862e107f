"""The dispatch loop: claim, open attempts, call, write results. Knows no provider and no message."""
