"""A lock for threads that ask for it again and again."""

from threading import Lock, RLock, get_ident
from typing import final


@final
class Turns:
    """A reentrant lock whose holder, when it asks again, waits for a thread that waited meanwhile.

    Python's own locks let a thread that releases one take it again at once: others could wait for as long as it loops.
    """

    def __init__(self) -> None:
        self._next, self._lock = Lock(), RLock()  # the thread that is next in line holds the first
        self._owner: int | None = None
        self._depth = 0

    def __enter__(self) -> None:
        if self._owner == get_ident():
            self._lock.acquire()
        else:
            with self._next:
                self._lock.acquire()
            self._owner = get_ident()
        self._depth += 1

    def __exit__(self, *error: object) -> None:
        self._depth -= 1
        if not self._depth:
            self._owner = None
        self._lock.release()
