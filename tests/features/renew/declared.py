"""What tests of all settings and commands ask of this one."""

SAMPLES = [("renew", {"every": "3 months", "before": "30 days", "purposes": {"loan": "never"}})]
