"""Agents: the bots of one fleet by name, as launches and URLs have them.

The empty name is the default agent, which serves the launches that name none.
"""

import re
from collections.abc import Mapping

DEFAULT = ""
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


def parse(text: str) -> Mapping[str, str]:
    """The bots of `sales=bots/sales.py,support=acme.support` by the names of their agents.

    Raises:
        ValueError: it is no such list; the text says what is wrong with it.
    """
    bots: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        name, is_pair, bot = (part.strip() for part in pair.partition("="))
        if not is_pair or not bot:
            raise ValueError(f"expected agent=bot pairs, such as sales=bots/sales.py, got {pair!r}")
        if not NAME.fullmatch(name):
            raise ValueError(f"an agent's name has up to 63 of a-z, 0-9 and -, and begins with no -, got {name!r}")
        if name in bots:
            raise ValueError(f"agent {name!r} is there twice")
        bots[name] = bot
    return bots
