"""What a person decides about rows and batches, as rows."""
