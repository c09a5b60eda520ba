"""When a run is due."""
