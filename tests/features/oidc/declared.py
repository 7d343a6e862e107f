"""What tests of all settings ask of this one."""

GIVEN = {
    "issuer": "https://login.example.com",
    "client_id": "onboarding",
    "base_url": "https://onboard.example.com",
    "roles": {"operator": ["kyc-operators"]},
}
SAMPLES = [("oidc", GIVEN)]
LET_IN = [("people whom an issuer names", (("oidc",), GIVEN))]
PUBLIC = [("identity provider", (("oidc", "issuer"), "http://login.internal"))]
