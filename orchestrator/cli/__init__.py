"""The `adiuva` command: a client of the services and a supervisor. It imports no service."""

# First of all, before grpc: it keeps grpc's own messages off the terminal.
import adiuva_rpc as adiuva_rpc
