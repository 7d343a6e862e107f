"""Evidence: what was done with the customers of a batch, as a file that shows any later change of itself.

records → chain → container (a ZIP file of one form only) → verifying
"""
