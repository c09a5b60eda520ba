"""A provider that does not exist, written as a new one would be: this folder is all that it takes."""
