"""A bot that starts a thread when it is imported, and then does not import."""

import threading

threading.Thread(target=threading.Event().wait, daemon=True).start()

raise RuntimeError("half of me is missing")
