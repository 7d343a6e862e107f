"""How due rows are claimed: leases, permits, slots, the flush, and the attempt before each call. Statements."""
