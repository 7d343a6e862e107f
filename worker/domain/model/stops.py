"""What an operator does about a stopped account or sender."""

# How the reason of a stop at our own cap on credits begins. No provider's answer begins so: those begin with "HTTP".
CAP = "its cap of "


def is_at_cap(reason: str) -> bool:
    """Whether an account with this reason is stopped at the cap of its `credits`. Trying it again does not help."""
    return reason.startswith(CAP)


def way_out(name: str, reason: str) -> str:
    """What ends the stop of the account or sender `name`, in words."""
    if is_at_cap(reason):
        return f"raise `credits` of [accounts.{name}], and start the workers again"
    return f"correct its cause, then `onboard account resume {name}`"
