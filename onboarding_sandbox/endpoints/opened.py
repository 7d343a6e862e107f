"""A session that the sandbox has opened, stored for the customer who will use it."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from onboarding_sandbox.wire import (
    FRANKIEONE_HOSTED,
    FRANKIEONE_V1,
    FRANKIEONE_V2,
    IDENFY_KYB,
    IDENFY_KYC,
    Answer,
    Call,
)

SESSIONS = (IDENFY_KYC, IDENFY_KYB, FRANKIEONE_V1, FRANKIEONE_V2, FRANKIEONE_HOSTED)

_PAIRS = """
AF AFG AX ALA AL ALB DZ DZA AS ASM AD AND AO AGO AI AIA AQ ATA AG ATG AR ARG AM ARM AW ABW AU AUS AT AUT AZ AZE
BS BHS BH BHR BD BGD BB BRB BY BLR BE BEL BZ BLZ BJ BEN BM BMU BT BTN BO BOL BQ BES BA BIH BW BWA BV BVT BR BRA
IO IOT BN BRN BG BGR BF BFA BI BDI CV CPV KH KHM CM CMR CA CAN KY CYM CF CAF TD TCD CL CHL CN CHN CX CXR CC CCK
CO COL KM COM CG COG CD COD CK COK CR CRI CI CIV HR HRV CU CUB CW CUW CY CYP CZ CZE DK DNK DJ DJI DM DMA DO DOM
EC ECU EG EGY SV SLV GQ GNQ ER ERI EE EST SZ SWZ ET ETH FK FLK FO FRO FJ FJI FI FIN FR FRA GF GUF PF PYF TF ATF
GA GAB GM GMB GE GEO DE DEU GH GHA GI GIB GR GRC GL GRL GD GRD GP GLP GU GUM GT GTM GG GGY GN GIN GW GNB GY GUY
HT HTI HM HMD VA VAT HN HND HK HKG HU HUN IS ISL IN IND ID IDN IR IRN IQ IRQ IE IRL IM IMN IL ISR IT ITA JM JAM
JP JPN JE JEY JO JOR KZ KAZ KE KEN KI KIR KP PRK KR KOR KW KWT KG KGZ LA LAO LV LVA LB LBN LS LSO LR LBR LY LBY
LI LIE LT LTU LU LUX MO MAC MG MDG MW MWI MY MYS MV MDV ML MLI MT MLT MH MHL MQ MTQ MR MRT MU MUS YT MYT MX MEX
FM FSM MD MDA MC MCO MN MNG ME MNE MS MSR MA MAR MZ MOZ MM MMR NA NAM NR NRU NP NPL NL NLD NC NCL NZ NZL NI NIC
NE NER NG NGA NU NIU NF NFK MK MKD MP MNP NO NOR OM OMN PK PAK PW PLW PS PSE PA PAN PG PNG PY PRY PE PER PH PHL
PN PCN PL POL PT PRT PR PRI QA QAT RE REU RO ROU RU RUS RW RWA BL BLM SH SHN KN KNA LC LCA MF MAF PM SPM VC VCT
WS WSM SM SMR ST STP SA SAU SN SEN RS SRB SC SYC SL SLE SG SGP SX SXM SK SVK SI SVN SB SLB SO SOM ZA ZAF GS SGS
SS SSD ES ESP LK LKA SD SDN SR SUR SJ SJM SE SWE CH CHE SY SYR TW TWN TJ TJK TZ TZA TH THA TL TLS TG TGO TK TKL
TO TON TT TTO TN TUN TR TUR TM TKM TC TCA TV TUV UG UGA UA UKR AE ARE GB GBR US USA UM UMI UY URY UZ UZB VU VUT
VE VEN VN VNM VG VGB VI VIR WF WLF EH ESH YE YEM ZM ZMB ZW ZWE
""".split()  # noqa: SIM905  # words are readable as a table

ALPHA_2 = frozenset(_PAIRS[::2])
ALPHA_3 = frozenset(_PAIRS[1::2])


@dataclass(slots=True, repr=False)
class Opened:
    """`reference`: the provider's scanRef or entityId, or the externalRef of a form. Times are UTC."""

    endpoint: str
    client: str
    reference: str
    token: str
    external_ref: str | None
    at: datetime
    expires_at: datetime
    company_id: str = ""  # set when the form is submitted
    deny_reason: str = "DOC_NOT_FULLY_VISIBLE"  # of a person who is denied
    does: str = ""
    state: str = "waiting"  # waiting, opened, or the name of the last event

    def facts(self) -> dict[str, Any]:
        return {
            "endpoint": self.endpoint,
            "client": self.client,
            "reference": self.reference,
            "token": self.token,
            "opened_at": self.at.isoformat(),
            "expires_at": self.expires_at.isoformat(),
            "does": self.does,
            "state": self.state,
        }


def opened_by(endpoint: str, call: Call, answer: Answer) -> Opened | None:
    """The session in an endpoint's answer; None if the call has opened none."""
    body = answer.body
    if endpoint not in SESSIONS or not answer.processed or isinstance(body, str):
        return None
    client, external_ref = answer.client or "", body.get("externalRef")
    references = {
        IDENFY_KYC: body.get("scanRef"),
        IDENFY_KYB: external_ref or client,
        FRANKIEONE_V2: call.path.get("entityId"),
        FRANKIEONE_V1: answer.reference,
        FRANKIEONE_HOSTED: body.get("entityId"),
    }
    ends = body.get("expiration") or body.get("tokenExpiry") or body.get("urlExpiry")
    if ends is not None:
        expires_at = datetime.fromisoformat(ends).astimezone(UTC)
    else:
        expires_at = call.now + timedelta(seconds=body["expiryTime"])
    return Opened(endpoint, client, str(references[endpoint]), answer.token or "", external_ref, call.now, expires_at)
