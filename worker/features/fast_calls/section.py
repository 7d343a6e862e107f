"""The section `[fast_calls]`."""

from onboarding_worker.settings.shape import FeatureSection
from onboarding_worker.settings.values import Flag, Section, setting


class FastCalls(Section):
    """Calls without aiohttp's ClientSession, and mails in fewer steps. Needs the extra `fast-calls`."""

    on: Flag = setting(False, "The start fails where the installed aiohttp does not fit.")


SECTION = FeatureSection("fast_calls", FastCalls)
