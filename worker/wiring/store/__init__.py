"""What processes ask of all tables at once: the rights of roles, and the keys of encrypted columns."""
