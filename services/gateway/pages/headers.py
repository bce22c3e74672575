"""What answers and pages tell browsers not to do with them."""

EVERYWHERE = [
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
]
"""With every answer of the server."""

_CLIENT = {
    "default-src": "'self'",
    # Daily's call object, which the page has for rooms, fetches its code from there and evaluates it.
    "script-src": "'self' blob: data: 'unsafe-eval' https://c.daily.co",
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' blob: data: https:",
    "media-src": "'self' blob: data: mediastream:",
    "worker-src": "'self' blob:",
    # A session's room, and what it is relayed by, can be anywhere.
    "connect-src": "'self' blob: data: https: wss:",
    "object-src": "'none'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}


_CONSOLE = {
    "default-src": "'none'",
    **dict.fromkeys(("script-src", "style-src", "img-src", "connect-src"), "'self'"),
    **dict.fromkeys(("base-uri", "form-action", "frame-ancestors"), "'none'"),
}


def console_headers() -> dict[str, str]:
    """Those of the gateway's own page, which loads and reaches nothing but the gateway."""
    return {"content-security-policy": _policy(_CONSOLE)}


def client_page_headers() -> dict[str, str]:
    """Those of `/client/`: no page of others around it, and scripts of its own and of Daily alone."""
    return {
        "content-security-policy": _policy(_CLIENT),
        "cross-origin-opener-policy": "same-origin",
        "permissions-policy": "geolocation=(), payment=(), usb=()",
    }


def _policy(sources: dict[str, str]) -> str:
    return "; ".join(f"{name} {allowed}" for name, allowed in sources.items())
