"""What all rules are made of: customers, sessions, states, endings of a step."""
