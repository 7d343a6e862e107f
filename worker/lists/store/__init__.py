"""The statements of lists: their batches, and the rows that lines become."""
