"""What `onboard doctor` says of the identity provider."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from onboarding_worker.cli.feature_checks import FeatureCheck, Finding, failure, ok
from onboarding_worker.core.foundation.connection_failures import certificate_help
from onboarding_worker.core.foundation.notation import counted
from onboarding_worker.features.oidc.section import Oidc
from onboarding_worker.http import event_loop
from onboarding_worker.wiring.container import Parts


def check(parts: Parts) -> Iterator[Finding]:
    """Whether the identity provider of the dashboard answers as one: its discovery document and its keys."""
    oidc = parts.settings.section_if_any(Oidc)
    if oidc is None:
        return
    from onboarding_worker.features.oidc.issuer import BACK, Issuer, Unavailable  # imported here: most have no [oidc]

    async def keys() -> int:
        issuer = Issuer(oidc, parts.clock)
        try:
            return len(await issuer.keys())
        finally:
            await issuer.close()

    url = urlsplit(oidc.issuer)
    where = f"{url.hostname}:{url.port or (443 if url.scheme == 'https' else 80)}"
    try:
        found = event_loop.run(keys())
    except Unavailable as error:
        helps = certificate_help(str(error), "oidc") or "check [oidc] issuer, and the way there"
        yield failure("oidc", f"{where}: {error}", helps)
    else:
        if found:
            yield ok("oidc", f"{where} answers, with {counted(found, 'key')}; redirect URI {oidc.base_url}{BACK}")
        else:
            yield failure("oidc", f"{where}: it has no keys", "ask those who run the identity provider")


CHECK = FeatureCheck(check)
