"""A bound on how much is told of something, whatever a bot does."""


class Allowance:
    """So many per second, and so many at once after a while without."""

    def __init__(self, per_s: float, at_once: float) -> None:
        self._per_s = per_s
        self._at_once = at_once
        self._left = at_once
        self._asked_at = 0.0

    def take(self, now: float, count: float = 1.0) -> bool:
        """Use up `count` of it; False, and nothing is used, when there is not so much left. Nothing is always left."""
        self._left = min(self._at_once, self._left + max(now - self._asked_at, 0.0) * self._per_s)
        self._asked_at = now
        if count > self._left:
            return False
        self._left -= count
        return True
