"""What the sweep does: end expired leases, reconcile, reissue, take over, let go of old rows."""
