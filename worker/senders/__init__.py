"""Email and SMS: composes, hands over, reads replies and callbacks. Knows no database."""
