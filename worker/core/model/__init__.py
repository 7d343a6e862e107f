"""The values that all rules use: channels, sessions, states, endings of a step, backoff."""
