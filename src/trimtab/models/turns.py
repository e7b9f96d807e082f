"""A lock for threads that ask for it again and again."""

from threading import Lock, RLock
from typing import final


@final
class Turns:
    """A reentrant lock whose holder, when it asks again, waits for a thread that waited meanwhile.

    Python's own locks let a thread that releases one take it again at once: others could wait for as long as it loops.
    """

    def __init__(self) -> None:
        self._next, self._lock = Lock(), RLock()  # the thread that is next in line holds the first

    def __enter__(self) -> None:
        if self._lock._is_owned():  # type: ignore[attr-defined]  # threading.Condition asks so, too
            self._lock.acquire()
        else:
            with self._next:
                self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()
