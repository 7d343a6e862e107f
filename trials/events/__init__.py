"""Events, taken and told: what other systems publish with clients of their own, and what must come of it."""
