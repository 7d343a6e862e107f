"""The section `[uploads]`."""

from typing import Literal

from worker.settings.shape import FeatureSection
from worker.settings.values import Section, setting


class Uploads(Section):
    """Lists that are given in the browser."""

    approvals: Literal[1, 2] = setting(
        1, "How many persons must agree before a list of the browser is sent. 2: two different ones."
    )


SECTION = FeatureSection("uploads", Uploads)
