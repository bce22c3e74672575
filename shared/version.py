"""Which version this is; services and command line are released together."""

VERSION = "0.1.0"
