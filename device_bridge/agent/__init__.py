"""The reference device agent: it dials out, runs the tools and owns the workspace on the user's laptop."""
