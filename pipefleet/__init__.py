"""The command line of Pipefleet."""

VERSION = "0.1.0"
"""As that of the services; their modules need not be installed beside it."""
