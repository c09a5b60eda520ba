"""Google's consent, and how its APIs are called."""
