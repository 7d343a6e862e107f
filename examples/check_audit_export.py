"""Checks a file of `onboard audit export`, without this software and without a key: fails at the first entry that does
not fit.

    python check_audit_export.py audit.jsonl
"""

import hashlib
import json
import sys

before = "0" * 64  # the hash of the entry before the first line, if the export does not begin with entry 1
entry = {}
for line in open(sys.argv[1], encoding="utf-8"):  # noqa: SIM115 -- the program ends with the file
    entry = json.loads(line)
    values = [entry[name] for name in ("number", "at", "actor", "action", "subject", "count", "reason")]
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
    before = hashlib.sha256(f"{before}\n{text}".encode()).hexdigest()
    if before != entry["hash"]:
        sys.exit(f"entry {entry['number']} does not fit")
print("head", f"{entry['number']}:{before}")  # noqa: T201 -- a program of its own
