"""The statements of erasure and retention."""
