"""What FrankieOne's two token requests have in common."""

from worker.providers.parameters.spec import Parameter, Type

# The schema names the first three, its own example writes DRIVER_LICENCE, and the document model
# DRIVERS_LICENSE; what an account's vendor takes is sent, and anything else is warned of.
DOCUMENT_TYPES = frozenset({"DRIVERS_LICENCE", "PASSPORT", "NATIONAL_ID", "DRIVER_LICENCE", "DRIVERS_LICENSE"})
RELAY_STATE = "the column external_ref, else the job's id"

APPLICANT = Parameter("applicantId", Type.TEXT, 1)
APPLICATION = Parameter("applicationId", Type.TEXT, 1)
COUNTRY = Parameter("country", Type.TEXT, pattern=r"[A-Z]{3}", shape="three capital letters (ISO 3166-1 alpha-3)")
DOCUMENT_TYPE = Parameter("documentType", Type.TEXT, 1, usual=DOCUMENT_TYPES)
REFERRER = Parameter("referrer", Type.TEXT, 1)
RELAY = Parameter("relayState", Type.TEXT, 1, filled=RELAY_STATE)
