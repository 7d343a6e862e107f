"""What becomes of a session: updates from the provider, verdicts, reissues."""
