"""Whether, when and on which channel a customer may be contacted."""
