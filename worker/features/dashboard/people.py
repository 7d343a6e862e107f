"""People who use the dashboard, and what their roles let them do. Pure."""

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """Each role may do what the roles before it may, and more."""

    VIEWER = "viewer"  # sees how the work stands; contact details are masked
    SERVICE_DESK = "service desk"  # finds customers, sees their contact details, sends to them again
    OPERATOR = "operator"  # decides about batches, accounts and events

    def includes(self, other: "Role") -> bool:
        return _ORDER.index(self) >= _ORDER.index(other)


_ORDER = list(Role)
# Before the names of people whom an identity provider names: no user of the file has a colon in its name.
OIDC = "oidc:"


@dataclass(frozen=True)
class Person:
    """Who looks at the dashboard. `name` "": a person without a name, who came with the key of a page to look at.
    With `OIDC` before it, the name is of the identity provider."""

    name: str
    role: Role

    def may(self, least: Role) -> bool:
        """Whether the person may do what needs this role. What changes something needs a name too, for the audit log:
        see `may_change`."""
        return self.role.includes(least)

    def may_change(self, least: Role) -> bool:
        return bool(self.name) and self.may(least)

    @property
    def actor(self) -> str:
        """As the audit log names the person."""
        return f"{self.name} ({self.role.value}), dashboard"
