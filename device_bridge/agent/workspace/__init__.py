"""The user's projects, tasks, notes and timelines on this device, and what runs did to them: one SQLite database."""
