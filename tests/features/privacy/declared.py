"""What tests of all commands and pages ask of this one."""

CANCELLED = "UPDATE job SET state = 'cancelled', due_at = NULL"
CHANGES = [("archive 1 --out batch.jsonl --purge --yes", ("batch", CANCELLED))]
READS = ["archive 1 --out batch.jsonl"]
NEEDS = [("archive 1 --out batch.jsonl", {"KEY"})]
PRIVATE = [(["archive", "1", "--out", "archive.jsonl"], "archive.jsonl")]
TAKES_BATCHES = ["archive"]
FILES_BESIDE = [["archive", "latest", "--out"]]
NOT_RUN = [("archive", "removes a batch only when its links have ended; tests/features/privacy/test_archive.py")]
