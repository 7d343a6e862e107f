"""The two kinds of work: ask for a session, send its link."""
