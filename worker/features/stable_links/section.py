"""The section `[links]`."""

from collections.abc import Mapping
from typing import Any, Literal

from worker.settings.problems import Findings
from worker.settings.shape import Credentials, FeatureSection
from worker.settings.values import Flag, Section, setting

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
        "Whether each visitor sees the link's page first, with who asks, the code, and the way to say that the message"
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
