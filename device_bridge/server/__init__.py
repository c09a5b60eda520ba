"""The bridge: sessions of devices, routing of tool calls, enrolment."""
