"""iDenfy KYC, in its two documented forms (docs/providers/idenfy-kyc.md). Flat: the 58 parameters of the token page.
Nested: the request of the OpenAPI document with `tokenString`, whose names are joined by dots: `client.name`. We fill
only a few of them; all can be given in `[accounts.NAME.parameters]` and as a list's columns."""

from collections.abc import Iterator, Mapping
from typing import Any

from onboarding_worker.providers.parameters.effects import Effect, effects
from onboarding_worker.providers.values import EXTERNAL_REF, NAMED, PERSONAL, UUID, Parameter, Type

MOST_LIFETIME = 30 * 24 * 60 * 60
# The environment's default expiry. A session with a digit string may not live longer (the page's "digitString").
DEFAULT_LIFETIME = 24 * 60 * 60

# "Letters only (no digits)" and the characters that the page lists; `<`, `>` and backslash are refused
# according to older documentation and clients. Hyphens, apostrophes, spaces and all scripts are fine.
NAME = r"""(?=.*[^\W\d_])[^\d~!@#$%^*()_+={}\[\]|\\:;",/?<>]+"""
NAME_SHAPE = 'letters, without digits or any of ~!@#$%^*()_+={}[]|\\:;",/?<>'
# The provider's default for most parameters.
ACCOUNTS = "the iDenfy account's setting"
NO_QUESTIONNAIRE = "no questionnaire"
TOKENS = ("IDENTIFICATION", "DOCUMENT")
COUNTRY = r"[A-Za-z]{2}|ALL"
TWO_LETTERS = "two letters (ISO 3166-1 alpha-2)"
COUNTRY_SHAPE = f"{TWO_LETTERS}, or ALL"

# Texts for the reference, about the values that we fill.
LOCALE = "the language of locale, if iDenfy has it"
LIFETIME = "the account's lifetime"


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Document types in the provider's documentation. The list grows and depends on the account, so others give a warning.
DOCUMENTS = _names("""ID_CARD PASSPORT RESIDENCE_PERMIT DRIVER_LICENSE PAN_CARD AADHAAR VISA NATIONAL_PASSPORT
    PROVISIONAL_DRIVER_LICENSE OLD_ID_CARD MILITARY_CARD ADDRESS_CARD SMART_ID CLEAR ONE_ID BANK_ID_SE BANK_ID_NO
    BANK_ID_CZ FTN MIT_ID VERIMI LA_WALLET SAMSUNG_WALLET MOJE_ID_CZ YOTI_ID OTHER BORDER_CROSSING ASYLUM PHOTO_CARD
    PROOF_OF_AGE_CARD TRAVEL_CARD SOCIAL_SECURITY_CARD VOTER_CARD DIPLOMATIC_ID WORK_PERMIT""")
# Languages of the verification pages (documentation.idenfy.com, "Supported Languages"). The default is English.
LOCALES = _names("""en es fr ru de it pl lt lv et sv cs ro hu ja bg nl pt uk sk sl vi th hi id hr da fi el no tr sr zh
    zh_tw ko""")


def _text(name: str, least: int | None = None, most: int | None = None, **more: Any) -> Parameter:
    return Parameter(name, Type.TEXT, least, most, **more)


def switches(names: str, *, default: str = ACCOUNTS) -> tuple[Parameter, ...]:
    return tuple(Parameter(name, Type.BOOLEAN, default=default) for name in names.split())


def _url(name: str, *, default: str = ACCOUNTS) -> Parameter:
    return Parameter(name, Type.URL, 5, 2048, default=default)


PARAMETERS = (
    _text("clientId", 1, 100, ascii=True, instead="it is filled from the column customer_id"),
    # Personal data
    _text("firstName", 1, 100, pattern=NAME, shape=NAME_SHAPE, filled=NAMED.format("first_name")),
    _text("lastName", 1, 100, pattern=NAME, shape=NAME_SHAPE, filled=NAMED.format("last_name")),
    Parameter("dateOfBirth", Type.DATE, filled=PERSONAL.format("date_of_birth")),
    Parameter("sex", Type.CHOICE, choices=("M", "F"), filled=PERSONAL.format("sex")),
    _text("nationality", pattern=COUNTRY, shape=COUNTRY_SHAPE, filled=PERSONAL.format("nationality")),
    _text("address", most=255, filled=PERSONAL.format("address")),
    _text("externalRef", most=40, ascii=True, filled=EXTERNAL_REF),
    # Document data
    Parameter("country", Type.LIST, also=Type.TEXT, pattern=COUNTRY, shape=COUNTRY_SHAPE, default="all"),
    Parameter("documents", Type.LIST, usual=DOCUMENTS, default=ACCOUNTS),
    _text("documentNumber", 1, 50, ascii=True),
    _text("personalNumber", 1, 50, ascii=True),
    Parameter("dateOfExpiry", Type.DATE),
    Parameter("dateOfIssue", Type.DATE),
    # Session settings
    _url("successUrl"),
    _url("errorUrl"),
    _url("unverifiedUrl"),
    _url("callbackUrl", default=""),
    _text("locale", most=7, source="the length is the openapi form's", default="en", filled=LOCALE),
    Parameter("expiryTime", Type.INTEGER, 1, MOST_LIFETIME, warn_below=60, default="86400", filled=LIFETIME),
    Parameter("sessionLength", Type.INTEGER, 60, 3600, default="1800"),
    Parameter("tokenType", Type.CHOICE, choices=TOKENS, default=TOKENS[0], filled=TOKENS[0]),
    *switches("showInstructions"),
    *switches("generateDigitString", default="false"),
    *switches("reviewFailed reviewSuccessful"),
    # Verification features
    *switches("verifyEmail verifyPhone verifyAddress"),
    *switches("verifyBank verifyBankAccounts verifyBankBalances verifyBankTransactions"),
    *switches("nfcRequired nfcOptional driverLicenseBack checkDriverLicense"),
    Parameter("ageLimit", Type.INTEGER, 1, default=ACCOUNTS),
    Parameter("ageMax", Type.INTEGER, 1, default=ACCOUNTS),
    # Advanced checks and security
    *switches("idLiveFaceValidation idLiveDocumentValidation checkLiveness autoFaceMatching checkBlurAndGlare"),
    *switches("checkAml checkIpProxy checkFaceBlacklist checkDocFaceBlacklist checkDuplicateFaces"),
    *switches("checkDuplicateDocFaces checkDuplicatePersonalData"),
    Parameter("registryCentersCountries", Type.LIST, default=ACCOUNTS),
    # Customisation
    Parameter("additionalSteps", Type.OBJECT, nullable=True, default=ACCOUNTS),
    Parameter("additionalData", Type.OBJECT, nullable=True, texts_only=True, default="{}"),
    *switches("utilityBill", default=""),
    _text("questionnaire", least=1, nullable=True, null=NO_QUESTIONNAIRE, default=ACCOUNTS),
    *switches("questionnaireRequired", default="true"),
    # The page's table has an integer, its own sample answer and S3 a uuid: both are accepted.
    Parameter("riskAssessmentProfile", Type.INTEGER, also=Type.TEXT),
)

# The narrative form's name and this form's name, for parameters that have another.
_OF_CLIENT = "dateOfBirth sex nationality documentNumber personalNumber dateOfExpiry dateOfIssue"
_SETTINGS = (
    "showInstructions verifyEmail verifyPhone verifyBank verifyBankAccounts verifyBankBalances verifyBankTransactions"
)
RENAMED = {
    "firstName": "client.name",
    "lastName": "client.surname",
    **{name: f"client.{name}" for name in _OF_CLIENT.split()},
    "country": "allowedCountries",
    "documents": "allowedDocuments",
    "expiryTime": "lifetime",
    "successUrl": "urls.successUrl",
    "errorUrl": "urls.failUrl",
    "unverifiedUrl": "urls.unverifiedUrl",
    "callbackUrl": "urls.webhookUrl",
    **{name: f"settings.{name}" for name in _SETTINGS.split()},
    "reviewFailed": "settings.reviewFailedVerifications",
    "reviewSuccessful": "settings.reviewSuccessfulVerifications",
    "verifyAddress": "settings.verifyPoaAddress",
}


def _nullable(name: str, most: int | None = None, **more: Any) -> Parameter:
    return Parameter(name, Type.TEXT, None, most, nullable=True, **more)


# Any scheme: the document asks for a URI; the narrative page asks for https.
_URIS = ("successUrl", "failUrl", "unverifiedUrl", "webhookUrl")
_URLS = tuple(Parameter(name, Type.URI, nullable=True, default=ACCOUNTS) for name in _URIS)
OPENAPI = (
    Parameter("clientId", Type.TEXT, None, 100, instead="it is filled from the column customer_id"),
    Parameter("tokenType", Type.CHOICE, choices=TOKENS, default="required by the document", filled=TOKENS[0]),
    _nullable("externalRef", 40, filled=EXTERNAL_REF),
    *switches("generateDigitString", default="false"),
    Parameter("lifetime", Type.INTEGER, 0, MOST_LIFETIME, warn_below=60, filled=LIFETIME),
    _nullable("locale", 7, filled=LOCALE),
    Parameter("sessionLength", Type.INTEGER, 60, 3600),
    Parameter("allowedCountries", Type.LIST, pattern=r"[A-Za-z]{2}", shape=TWO_LETTERS, nullable=True, default="all"),
    Parameter("allowedDocuments", Type.LIST, nullable=True, usual=DOCUMENTS, default=ACCOUNTS),
    Parameter(
        "client",
        Type.OBJECT,
        nullable=True,
        fields=(
            _nullable("name", 100, filled=NAMED.format("first_name")),
            _nullable("surname", 100, filled=NAMED.format("last_name")),
            Parameter("dateOfBirth", Type.DATE, nullable=True, filled=PERSONAL.format("date_of_birth")),
            _nullable("nationality", filled=PERSONAL.format("nationality")),
            _nullable("documentNumber", 50),
            _nullable("personalNumber", 50),
            Parameter("sex", Type.CHOICE, choices=("M", "F"), nullable=True, filled=PERSONAL.format("sex")),
            Parameter("dateOfExpiry", Type.DATE, nullable=True),
            _nullable("dateOfIssue"),  # the document gives no format for it
        ),
    ),
    Parameter("urls", Type.OBJECT, nullable=True, fields=_URLS),
    Parameter(
        "settings",
        Type.OBJECT,
        nullable=True,
        fields=(
            *switches("verifyEmail verifyPhone"),
            *switches("verifyBank verifyBankAccounts verifyBankBalances verifyBankTransactions"),
            *switches("verifyPoaAddress showInstructions reviewFailedVerifications reviewSuccessfulVerifications"),
        ),
    ),
    _nullable("questionnaire", null=NO_QUESTIONNAIRE, default=ACCOUNTS),
    *switches("questionnaireRequired", default="true"),
    _nullable("riskAssessmentProfile", pattern=UUID, shape="a uuid"),
    _nullable("address", filled=PERSONAL.format("address")),
)

# What each can do to the check, by the page; the switches of both forms have the page's words.
EFFECTS = effects(
    (Effect.PLAIN, "firstName lastName dateOfBirth sex nationality address", "the customer's own data, to compare"),
    (Effect.PLAIN, "documentNumber personalNumber dateOfExpiry dateOfIssue", "the document's data, to compare"),
    (Effect.PLAIN, "clientId externalRef", "names of ours"),
    (Effect.PLAIN, "locale showInstructions", "what the customer sees"),
    (Effect.PLAIN, "expiryTime sessionLength", "how long the link and the session live"),
    (Effect.PLAIN, "generateDigitString", "a digit string for mobile app access"),
    (Effect.ADDRESS, "successUrl errorUrl unverifiedUrl", "where a client will be redirected"),
    (Effect.ADDRESS, "callbackUrl", "where webhook response should be sent"),
    (Effect.WEAKENS, "country", "ALL allows all countries"),
    (Effect.WEAKENS, "documents", "supported verification documents, which the account's settings limit"),
    (Effect.WEAKENS, "tokenType", "DOCUMENT: document capturing step only, no selfie"),
    (Effect.WEAKENS, "reviewFailed reviewSuccessful", "controls manual review"),
    (Effect.WEAKENS, "verifyEmail verifyPhone verifyAddress", "adds a verification step"),
    (Effect.WEAKENS, "verifyBank verifyBankAccounts verifyBankBalances verifyBankTransactions", "the bank step"),
    (Effect.WEAKENS, "nfcRequired nfcOptional", "NFC chip reading; failure to scan results in denial"),
    (Effect.WEAKENS, "driverLicenseBack", "requires both sides of the license"),
    (Effect.WEAKENS, "checkDriverLicense", "registry check"),
    (Effect.WEAKENS, "ageLimit ageMax", "flagged as suspected if younger or older"),
    (Effect.WEAKENS, "idLiveFaceValidation idLiveDocumentValidation", "passive liveness, detects photos and screens"),
    (Effect.WEAKENS, "checkLiveness", "active 3D face liveness"),
    (Effect.WEAKENS, "autoFaceMatching", "when disabled, also disables five other checks"),
    (Effect.WEAKENS, "checkBlurAndGlare", "quality checks on uploaded images"),
    (Effect.WEAKENS, "checkAml", "adds the verified person to AML monitoring"),
    (Effect.WEAKENS, "checkIpProxy", "whether an IP proxy was used"),
    (Effect.WEAKENS, "checkFaceBlacklist checkDocFaceBlacklist", "against the face blacklist"),
    (Effect.WEAKENS, "checkDuplicateFaces checkDuplicateDocFaces", "whether the face was verified already"),
    (Effect.WEAKENS, "checkDuplicatePersonalData", "same personal data in multiple verifications"),
    (Effect.WEAKENS, "registryCentersCountries", "countries to enable Registry Center checks for"),
    (Effect.WEAKENS, "additionalSteps utilityBill", "steps that the customer must go through"),
    (Effect.WEAKENS, "additionalData", "what COMPARE steps compare with"),
    (Effect.WEAKENS, "questionnaire questionnaireRequired", "null disables it; forces it to be mandatory"),
    (Effect.WEAKENS, "riskAssessmentProfile", "the Risk Assessment profile to apply"),
)
OPENAPI_EFFECTS = {RENAMED.get(name, name): said for name, said in EFFECTS.items()} | effects(
    (Effect.PLAIN, "client", "the customer's own data, to compare"),
    (Effect.ADDRESS, "urls", "override default redirect URLs and the webhook URL"),
    (Effect.WEAKENS, "settings", "session-level feature overrides"),
)

BANK_STEPS = ("verifyBankAccounts", "verifyBankBalances", "verifyBankTransactions")
# autoFaceMatching = false switches these off too.
FACE = ("checkLiveness", "checkFaceBlacklist", "checkDocFaceBlacklist", "checkDuplicateFaces", "checkDuplicateDocFaces")


def contradictions(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Parameter and problem for each pair of values that the page excludes."""
    for name in BANK_STEPS:
        if values.get(name) is True and values.get("verifyBank") is False:
            yield name, "needs verifyBank, which is false"
    for name in FACE:
        if values.get(name) is True and values.get("autoFaceMatching") is False:
            yield name, "is switched off by autoFaceMatching, which is false"
    if values.get("nfcRequired") is True and values.get("nfcOptional") is True:
        yield "nfcOptional", "contradicts nfcRequired, which is true"
    yield from _too_long(values, "expiryTime")
    youngest, oldest = values.get("ageLimit"), values.get("ageMax")
    if isinstance(youngest, int) and isinstance(oldest, int) and oldest < youngest:
        yield "ageMax", "must not be below ageLimit"


def openapi_contradictions(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The same of the nested form. The document names none: these are the page's rules for the same call."""
    settings = values.get("settings")
    if isinstance(settings, Mapping):
        for name in BANK_STEPS:
            if settings.get(name) is True and settings.get("verifyBank") is False:
                yield f"settings.{name}", "needs settings.verifyBank, which is false"
    yield from _too_long(values, "lifetime")


def _too_long(values: Mapping[str, Any], name: str) -> Iterator[tuple[str, str]]:
    lifetime = values.get(name)
    if values.get("generateDigitString") is True and isinstance(lifetime, int) and lifetime > DEFAULT_LIFETIME:
        yield name, f"must be at most {DEFAULT_LIFETIME} with generateDigitString"


def warnings(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Parameter and warning for each combination that is accepted and probably a mistake."""
    for name in BANK_STEPS:
        if values.get(name) is True and "verifyBank" not in values:
            yield name, "is a part of verifyBank, which is not given: the dashboard's setting applies"
    if values.get("additionalData") and "additionalSteps" not in values:
        yield "additionalData", "is for steps in additionalSteps, which is not given: the dashboard's steps apply"
