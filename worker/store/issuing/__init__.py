"""Jobs: claimed, deferred, and the results of their calls."""
