"""What all tests of commands, pages and the simulation ask of this one."""

LAPSED = "UPDATE job SET state = 'lapsed', reason = 'suppressed', due_at = NULL"
INVITED = (
    'INSERT INTO session (id, customer_id, purpose, job_id, account, reference, "references", vendor, encrypted,'
    " sms_sent, state, issued_at, expires_at, expiry_source, company_id)"
    " SELECT '0192f000000070008000000000000000', customer_id, purpose, id, account, 'r', '{}', '', x'01', 0, 'waiting',"
    " '2026-01-01', '2999-01-01', 'answer', '' FROM job WHERE customer_id = 'C-0001';"
    " UPDATE job SET state = 'invited', due_at = NULL, session_id = '0192f000000070008000000000000000'"
)
STORED, WAKING = {"KEY"}, {"KEY", "BROKER"}
CHANGES = [
    ("customer address C-0001 --email new@example.com", ("customer", "")),
    ("customer erase C-0001 --yes", ("tombstone", "")),
    ("customer new-link C-0001 --yes", ("job", LAPSED)),
    ("customer resend C-0001", ("invitation", INVITED)),
]
BEFORE = ["customer export C-0001", "customer show C-0001 --provider-words"]
READ_WITH_KEY = ["customer show C-0001"]
READS = ["customer find C-0001", "customer show C-0001"]
ELSEWHERE = ["customer reapply"]  # tests/features/privacy/store/test_reapplying.py
NEEDS = [
    ("customer address C-0001 --email new@example.com", WAKING),
    ("customer erase C-0001", STORED),
    ("customer export C-0001", STORED),
    ("customer find C-0001", STORED),
    ("customer new-link C-0001", WAKING),
    ("customer reapply", STORED),
    ("customer resend C-0001", WAKING),
    ("customer show C-0001", STORED),
]
ON_STANDARD_OUTPUT = [["customer", "export", "C-1"]]
ANSWERS = [("customer new-link", ("--yes",)), ("customer erase", ("--yes",))]
# Acts of the simulation: their names, and where each is.
OFFICE = [(name, f"tests.features.service_desk.office:{name}") for name in ("new_link", "send_again", "correct")]
PAPERS = [(name, f"tests.features.service_desk.office:{name}") for name in ("return_report", "erase")]
# What people read of customers.
SAYINGS = ["tests.features.service_desk.sayings:say"]
