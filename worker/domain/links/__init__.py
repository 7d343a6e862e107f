"""Our own link, which a customer keeps: what a visitor of it gets, and which visits count. Pure."""
