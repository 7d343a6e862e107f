"""What the customers of a rehearsal are assumed to do."""

from dataclasses import dataclass
from datetime import timedelta

from onboarding_sandbox.behaviour import Share

BEGIN = timedelta(hours=1)  # no customer acts sooner after a session was opened
FINISH = 0.6


@dataclass(frozen=True)
class Shares:
    """Shares of all customers, from 0 to 1; together 1."""

    finish: float
    deny: float
    leave: float
    never: float

    @classmethod
    def of(cls, *, finish: float | None, deny: float, leave: float, never: float | None) -> "Shares":
        """What is not given is the rest. Raises ValueError where the shares are not all of the customers."""
        if finish is None:
            finish = FINISH if never is None else round(max(1 - never - deny - leave, 0.0), 9)
        rest = 1 - finish - deny - leave
        if never is None:
            never = round(max(rest, 0.0), 9)
        if rest < -1e-9 or abs(rest - never) > 1e-9:
            total = finish + deny + leave + (never if rest >= 0 else 0.0)
            raise ValueError(
                f"--finish, --deny, --leave and --never are {total * 100:g}% together: they must be all customers"
            )
        return cls(finish, deny, leave, never)

    @property
    def played(self) -> tuple[Share, ...]:
        """The same for the sandbox, where the rest never come."""
        return Share("finish", self.finish), Share("deny", self.deny), Share("open", self.leave)
