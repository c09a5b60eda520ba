"""Microsoft's consent, and how Graph is called."""
