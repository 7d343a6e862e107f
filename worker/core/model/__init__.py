"""The values that all rules use: customers, sessions, states, endings of a step, backoff."""
