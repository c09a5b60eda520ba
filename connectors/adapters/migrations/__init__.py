"""The steps that bring the schema `device_bridge` up to date; `adapters.sql.schema` runs them at the start."""
