"""A bot that does not import."""

raise RuntimeError("half of me is missing")
