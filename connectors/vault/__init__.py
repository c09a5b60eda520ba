"""What a connection keeps secret, sealed at rest: a data key for each connection, wrapped by a key of the operator."""
