"""What all tests of commands ask of this one."""

CHANGES = [("audit accept --yes", ("audit_head", ""))]
READS = ["audit", "audit export", "audit verify"]
NEEDS = [(command, {"KEY"}) for command in ("audit", "audit accept --yes", "audit export", "audit verify")]
ON_STANDARD_OUTPUT = [["audit", "export"]]
PRIVATE = [(["audit", "export", "--out", "audit.jsonl"], "audit.jsonl")]
ANSWERS = [("audit accept", ("--yes",))]
PREPARED = [("features/audit.md", lambda desk: {"HEAD": f"1:{'0' * 64}"})]  # another log's
