"""What the sweep does: return leases, reconcile, reissue, take over, let go of old rows."""
