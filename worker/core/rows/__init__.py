"""The rows that several rooms write: sessions, messages, addresses, cancellations, calls in doubt. Statements."""
