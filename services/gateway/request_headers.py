"""What a request says in a header, as each request is asked before its route sees it.

Litestar's own view of the headers is made anew for each request, which takes longer than all that is asked of it here.
"""

from litestar.types import Scope


def header(scope: Scope, name: bytes) -> str | None:
    """The first header of this name, which is in lower case; None if there is none."""
    for known, value in scope["headers"]:
        if known == name:
            return value.decode("latin-1")
    return None
