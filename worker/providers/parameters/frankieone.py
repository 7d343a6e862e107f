"""The parameters of FrankieOne's two token requests. KYC v2: the fields of IDV-Token-Request, from the OpenAPI document
on FrankieOne's page. v1: the fields of its request, with `entity` and its parts (docs/providers/frankieone-v1.md).

The page of v1 marks no field as required and gives no bounds; the types are from its sample. `consent` cannot be given
as a parameter: it is sent only if the customer's own line has true. We fill nothing of `entity.organisationData`,
because the endpoint verifies people; it can be given, and must have the sample's types.
"""

from onboarding_worker.providers.countries import ALPHA3_OF
from onboarding_worker.providers.parameters.effects import Effect, effects
from onboarding_worker.providers.values import EXTERNAL_REF, NAMED, PERSONAL, Parameter, Type

# The schema names the first three; its own example has DRIVER_LICENCE, and the document model DRIVERS_LICENSE.
# Which names an account's vendor accepts is not documented: any name is sent, and other names give a warning.
DOCUMENT_TYPES = frozenset({"DRIVERS_LICENCE", "PASSPORT", "NATIONAL_ID", "DRIVER_LICENCE", "DRIVERS_LICENSE"})

APPLICANT = Parameter("applicantId", Type.TEXT, 1, filled="the session that is replaced")
APPLICATION = Parameter("applicationId", Type.TEXT, 1)
_ALPHA3 = "a country's three capital letters (ISO 3166-1 alpha-3)"
COUNTRY = Parameter("country", Type.TEXT, pattern="|".join(sorted(ALPHA3_OF.values())), shape=_ALPHA3)
DOCUMENT_TYPE = Parameter("documentType", Type.TEXT, 1, usual=DOCUMENT_TYPES)
REFERRER = Parameter("referrer", Type.TEXT, 1, filled="the scheme and the host of the account's link")
RELAY = Parameter("relayState", Type.TEXT, 1, filled=EXTERNAL_REF)


def _text(name: str, filled: str = "") -> Parameter:
    return Parameter(name, Type.TEXT, 1, filled=filled)


def _texts(names: str) -> tuple[Parameter, ...]:
    return tuple(_text(name) for name in names.split())


def _each(type_: Type, names: str) -> tuple[Parameter, ...]:
    """A parameter of this type for each name; a text may be empty."""
    return tuple(Parameter(name, type_) for name in names.split())


def _object(name: str, *members: Parameter) -> Parameter:
    return Parameter(name, Type.OBJECT, fields=members)


def _records(name: str, *members: Parameter) -> Parameter:
    return Parameter(name, Type.RECORDS, fields=members)


CODED = _each(Type.TEXT, "code description")
SINCE = _each(Type.TEXT, "effectiveFrom effectiveTo")
REGISTER = _object(
    "abr",
    *_each(Type.TEXT, "abn acn"),
    _records("addresses", *SINCE, *_each(Type.TEXT, "postcode stateCode")),
    _records("businessNames", *SINCE, *_each(Type.TEXT, "name type")),
    _records("charityEndorsements", *SINCE, *_each(Type.TEXT, "type")),
    _records("charityTypes", *_each(Type.TEXT, "description effectiveFrom effectiveTo")),
    *_each(Type.TEXT, "description"),
    _records("dgrEndorsements", *_each(Type.TEXT, "endorsedFrom endorsedTo")),
    _records("gst", *SINCE),
    _records(
        "historicalChanges",
        *_each(Type.LIST, "businessName"),
        *_each(Type.TEXT, "date"),
        *_each(Type.LIST, "entityStatus goodsAndServicesTax mainBusinessPhysicalAddress mainName mainTradingName"),
    ),
    *_each(Type.TEXT, "lastUpdated name registeredDate status statusEffectiveFrom type typeCode updatedDate"),
)
ORGANISATION = _object(
    "organisationData",
    *_each(Type.BOOLEAN, "adverseCreditDataPresent"),
    *_each(Type.LIST, "aliases"),
    _records(
        "blockingReasons",
        _records(
            "candidates", *_each(Type.TEXT, "address code countryIso registeredName registryDescription subdivision")
        ),
        *_each(Type.TEXT, "description type"),
    ),
    _object("class", *CODED),
    _object("contactDetails", *_each(Type.TEXT, "email faxNumber telephoneNumber websiteURL")),
    *_each(Type.BOOLEAN, "disclosingEntityIndicator includesNonBeneficiallyHeld"),
    _records("industryCodes", *CODED),
    _records("industryDeclarations", *_each(Type.TEXT, "description language")),
    *_each(Type.TEXT, "kycCustomerType lastCheckDate"),
    _object(
        "legalFormDetails", *_each(Type.TEXT, "basis capital comments control incorp partner responsibility stocks")
    ),
    *_each(Type.TEXT, "normalisedLegalStatus"),
    *_each(Type.BOOLEAN, "ownershipResolved"),
    *_each(Type.TEXT, "registeredName"),
    _object(
        "registration",
        *_each(Type.TEXT, "countryIso date number previousNumber registryCode registryDescription state"),
        *_each(Type.TEXT, "unstructuredDate unstructuredFoundationDate"),
    ),
    _object("registries", REGISTER),
    *_each(Type.TEXT, "reviewDate"),
    _records(
        "shareStructure",
        *_each(Type.NUMBER, "amountDue amountPaid"),
        *_each(Type.TEXT, "classCode classTitle docNumber docNumberQualifier"),
        *_each(Type.NUMBER, "sharesIssued"),
        *_each(Type.TEXT, "status"),
    ),
    *_each(Type.TEXT, "startDate"),
    *(_object(name, *CODED) for name in ("status", "subType", "subclass", "type")),
)

EXTRA_DATA = _records("extraData", *_texts("kvpKey kvpType kvpValue"))
SCANS = _records(
    "docScan",
    *_each(Type.BOOLEAN, "ScanDelete"),
    *_texts("scanCreated scanData scanDataRetrievalState scanDocId scanFilename scanMIME"),
    *_each(Type.INTEGER, "scanPageNum"),
    *_texts("scanSide scanType"),
)
_BORN = PERSONAL.format("date_of_birth")
_KNOWN = "customer_reference with customer_id, consent.general if consent is true; given values are added"
ENTITY = (
    Parameter(
        "addresses",
        Type.RECORDS,
        fields=(
            *_texts("addressId addressType buildingName careOf country endDate"),
            EXTRA_DATA,
            *_texts("longForm postalCode region startDate state streetName streetNumber streetType suburb town"),
            *_texts("unitNumber unstructuredLongForm"),
        ),
        filled="one RESIDENTIAL1 address whose longForm is " + PERSONAL.format("address"),
    ),
    _object(
        "dateOfBirth",
        _text("country"),
        Parameter("dateOfBirth", Type.DATE, source="the format is from the documentation", filled=_BORN),
        *_texts("locality unstructuredDateOfBirth yearOfBirth"),
    ),
    Parameter("entityId", Type.TEXT, instead="it is filled from the column entity_id, or from an earlier answer"),
    _text("entityProfile"),
    _text("entityType", "INDIVIDUAL"),
    Parameter("extraData", Type.RECORDS, fields=EXTRA_DATA.fields, filled=_KNOWN),
    _records("flags", _text("flag"), *_each(Type.INTEGER, "value")),
    _text("gender", PERSONAL.format("sex") + ": M or F"),
    _records(
        "identityDocs",
        _text("country"),
        *_each(Type.BOOLEAN, "createdFromScan"),
        SCANS,
        *_texts("documentId documentStatus"),
        EXTRA_DATA,
        *_texts("idExpiry idIssued idNumber idSubType idType"),
        *_each(Type.BOOLEAN, "manuallyModified"),
        _text("region"),
    ),
    _object(
        "name",
        _text("displayName"),
        _text("familyName", NAMED.format("last_name")),
        _text("givenName", NAMED.format("first_name")),
        *_texts("honourific middleName"),
    ),
    ORGANISATION,
)
_CONSENT = "it is sent only if the column consent is true: only the person can give consent"
V1 = (
    APPLICANT,
    APPLICATION,
    Parameter("consent", Type.BOOLEAN, default="false", instead=_CONSENT),
    COUNTRY,
    DOCUMENT_TYPE,
    _object("entity", *ENTITY),
    REFERRER,
    RELAY,
)
V2 = (
    Parameter("entityId", Type.TEXT, instead="it is part of the address, filled from the column entity_id"),
    APPLICANT,
    APPLICATION,
    COUNTRY,
    DOCUMENT_TYPE,
    REFERRER,
    RELAY,
    Parameter("provider", Type.TEXT, 1, default="the account's default vendor"),
    Parameter("products", Type.LIST, 1, default="the vendor's"),
    Parameter("vendorParameters", Type.OBJECT),
    Parameter(
        "comment",
        Type.OBJECT,
        fields=(
            Parameter("commentId", Type.TEXT, instead="FrankieOne gives it"),
            Parameter("text", Type.TEXT),
            Parameter("entityId", Type.TEXT),
            Parameter("entityType", Type.CHOICE, choices=("INDIVIDUAL", "ORGANIZATION", "UNKNOWN")),
        ),
    ),
)

# What each can do to the check: v2's page says it; v1's has the same names, without words, so the rest is our reading.
BOTH = effects(
    (Effect.ADDRESS, "referrer", "the referrer domain, by which the token is validated"),
    (Effect.PLAIN, "relayState", "relayed through the process; a name of ours"),
    (Effect.WEAKENS, "applicantId applicationId", "which check or applicant of the vendor's is resumed"),
    (Effect.WEAKENS, "country documentType", "restricts the check to one country or document type"),
)
V2_EFFECTS = BOTH | effects(
    (Effect.PLAIN, "entityId comment", "a name, and a text for people"),
    (Effect.WEAKENS, "provider products", "which vendor checks, and with which products"),
    (Effect.WEAKENS, "vendorParameters", "vendor-specific parameters"),
)
V1_EFFECTS = BOTH | effects(
    (Effect.WEAKENS, "consent", "the person's consent"),
    (Effect.PLAIN, "entity", "the customer's own data"),
    (Effect.WEAKENS, "entity.entityProfile entity.entityType", "the recipe by which the entity is checked"),
    (Effect.WEAKENS, "entity.flags", "flags of the entity, of undocumented effect"),
    (
        Effect.WEAKENS,
        "entity.extraData entity.addresses.extraData entity.identityDocs.extraData",
        "any key and value, consent among them",
    ),
    (
        Effect.WEAKENS,
        "entity.identityDocs.createdFromScan entity.identityDocs.docScan entity.identityDocs.documentId"
        " entity.identityDocs.documentStatus entity.identityDocs.manuallyModified",
        "what was already captured of the document, and its status",
    ),
    (Effect.WEAKENS, "entity.organisationData", "what a register says of a company"),
)
