"""How a process of this system speaks the contracts: errors, identity, TLS, servers, channels, telemetry, settings."""

import os

# The core of grpc writes lines of its own to stderr, between ours; what matters in them comes to us as statuses and
# errors. It reads this when it is first imported. GRPC_VERBOSITY=info brings them back.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
