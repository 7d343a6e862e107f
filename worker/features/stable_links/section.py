"""The section `[links]`, and how our own links are made by it."""

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from onboarding_worker.settings.problems import Findings
from onboarding_worker.settings.shape import Credentials, FeatureSection
from onboarding_worker.settings.values import Flag, Section, setting

if TYPE_CHECKING:
    from onboarding_worker.core.rows.own_links import StableLinks
    from onboarding_worker.settings.model import Settings

NO_ADDRESS = 'missing, and needed for mode = "stable" of [links]: the public address of `onboard web`'
ONLY_STABLE = 'needs mode = "stable": only our own link can buy a session when it is opened'
ONLY_OURS = 'needs mode = "stable": the provider\'s link leads to no page of ours'


class Links(Section):
    """The link that a message carries."""

    mode: Literal["provider", "stable"] = setting(
        "provider",
        "The provider's link, or our own (`stable`), which leads to the session that lives and survives reissues."
        " Needs `base_url` of [web].",
    )
    issue: Literal["ahead", "on-click"] = setting(
        "ahead",
        "When a session is bought: before its message leaves, or when the customer presses the button of the link's"
        ' page (`on-click`, with `mode = "stable"`).',
    )
    page: Flag = setting(
        False,
        "Whether each visitor sees the link's page first, with who asks, and the way to say that the message"
        " was for another person, and is led to the session by its button; else a visitor of a live session is led"
        " there at once.",
    )

    @property
    def are_ours(self) -> bool:
        return self.mode == "stable"


def _check(links: Links, given: Mapping[str, Any], findings: Findings) -> None:
    web = given.get("web", {})
    if links.are_ours and isinstance(web, Mapping) and "base_url" not in web:
        findings.consequence(("web", "base_url"), NO_ADDRESS)
    if links.issue == "on-click" and not links.are_ours:
        findings.consequence(("links", "issue"), ONLY_STABLE)
    if links.page and not links.are_ours:
        findings.consequence(("links", "page"), ONLY_OURS)


# The link itself is the right to open it.
SECTION = FeatureSection(
    "links",
    Links,
    check=_check,
    credentials=Credentials('`mode = "stable"` in [links]', lambda links, _parts: bool(links and links.are_ours)),
)

# How long our own link leads on after the last message: as long as people come back to one in their mailbox.
VALID = timedelta(days=60)


def made(settings: "Settings") -> "StableLinks | None":
    """A link ends before its customer's data does."""
    links, base = settings.section(Links), settings.web.base_url
    if not links.are_ours or base is None:
        return None
    from onboarding_worker.core.rows.own_links import StableLinks

    return StableLinks(base, min(VALID, settings.retention.personal), on_click=links.issue == "on-click")
