"""`adiuva connections` without its service, or with one that does as it is told."""
