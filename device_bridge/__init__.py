"""Carries tool calls to the devices behind NAT, and holds the reference device agent."""
