"""How a bot says in its own words why it will not run."""


class LaunchRefused(Exception):  # noqa: N818 - it says what it is
    """Raised by a bot that cannot do what its launch asks for. The text alone is the session's reason, for people.

    Any bot may raise it; without the fleet it is an exception like any other.
    """
