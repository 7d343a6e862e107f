"""The section `[dashboard]`."""

from pydantic import Field

from worker.features.dashboard.users import UserList, Users
from worker.settings.shape import Credentials, FeatureSection
from worker.settings.values import Section


class Dashboard(Section):
    """Pages for the people who run the work."""

    users: Users = Field(
        default_factory=UserList,
        description='Who may log in: { file = "users.toml" }, which `onboard users add NAME` writes. Read again when it'
        " changes. Without it the pages are only for looking, on loopback alone.",
    )


SECTION = FeatureSection(
    "dashboard",
    Dashboard,
    credentials=Credentials(
        "`users` in [dashboard]", lambda dashboard, _parts: bool(dashboard and dashboard.users.is_given)
    ),
)
