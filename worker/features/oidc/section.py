"""The section `[oidc]`."""

import json
from hashlib import sha256
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator

from onboarding_worker.features.dashboard.users import Role
from onboarding_worker.settings import addresses
from onboarding_worker.settings.shape import Credentials, FeatureSection
from onboarding_worker.settings.tls import Client
from onboarding_worker.settings.values import Credential, ServerUrl, Shown, Text, setting


def _issuer(given: Any) -> str:
    """The issuer as it is written: its name is compared letter by letter, with or without a slash at its end."""
    addresses.base_url(given, http=True)
    return str(given)


def _values(roles: dict[Role, tuple[str, ...]]) -> dict[Role, tuple[str, ...]]:
    if not any(roles.values()):
        raise ValueError("no value gives a role, so no one could log in")
    return roles


RoleValues = Annotated[
    dict[Literal[Role.VIEWER, Role.SERVICE_DESK, Role.OPERATOR], tuple[Text, ...]],
    AfterValidator(_values),
    Shown("table of lists by role"),
]


class Oidc(Client):
    """Log-in to the dashboard at an identity provider (OpenID Connect): docs/features/oidc.md."""

    issuer: Annotated[str, BeforeValidator(_issuer), Shown("URL")] = setting(
        ..., "The issuer, letter by letter as it names itself in its `/.well-known/openid-configuration`."
    )
    client_id: Text = setting(..., "The name of the dashboard at the issuer.", max_length=200)
    client_secret: Credential | None = setting(None, "Its secret there.", "none: a public client, with PKCE alone")
    base_url: ServerUrl = setting(
        ...,
        "The dashboard's address as browsers see it. Register it with `/dashboard/oidc` at its end as the redirect"
        " URI.",
    )
    name_claim: Text = setting(
        "preferred_username",
        "The claim that names the person in the audit log. People must not be able to change their own.",
    )
    role_claim: Text = setting(
        "groups", "The claim with a person's groups or roles; `realm_access.roles` looks inside an object."
    )
    roles: RoleValues = setting(
        ...,
        'The values of `role_claim` that give a role: { operator = ["kyc-operators"] }. The highest counts; without'
        " any the person is not let in.",
    )

    @classmethod
    def address_key(cls) -> str:
        return "issuer"

    def entry(self, role: Role) -> str:
        """What a log-in with this role counts for: another issuer, or another table of roles, ends it."""
        given = [self.issuer, self.client_id, self.name_claim, self.role_claim, role.value]
        table = {key.value: values for key, values in self.roles.items()}
        return sha256(json.dumps([given, table], sort_keys=True).encode()).hexdigest()


SECTION = FeatureSection(
    "oidc",
    Oidc | None,
    None,
    outside=lambda oidc: [("oidc", oidc.issuer)] if oidc is not None else [],
    credentials=Credentials("[oidc]", lambda oidc, _parts: oidc is not None),
)
