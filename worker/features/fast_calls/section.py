"""The section `[fast_calls]`."""

from pydantic import Field

from worker.settings.shape import FeatureSection
from worker.settings.values import Flag, Section


class FastCalls(Section):
    """Calls without aiohttp's ClientSession, and mails in fewer steps. Needs the extra `fast-calls`."""

    on: Flag = Field(False, description="The start fails where the installed aiohttp does not fit.")


SECTION = FeatureSection("fast_calls", FastCalls)
