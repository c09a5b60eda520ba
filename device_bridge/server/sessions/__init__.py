"""Sessions of devices: the protocol as a table, the pumps that move its frames, and who is connected here."""
