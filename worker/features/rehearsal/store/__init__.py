"""The statements of a rehearsal."""
