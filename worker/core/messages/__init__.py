"""When and how a customer may be written to."""
