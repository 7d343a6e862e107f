"""What a test of all modules asks of this one."""

WRITES_FILES = [("worker/features/metrics/metrics_reference.py", "pages of this repository")]
