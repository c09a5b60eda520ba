"""The cloud agent from nothing: two accounts at the emulated providers, a week of mail, and what is made of it."""
