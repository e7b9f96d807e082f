"""Equal requests that are made together: each is another sample of one text, and needs a number of its own."""

from collections import Counter
from collections.abc import Hashable, Iterable


def earlier_equals(requests: Iterable[Hashable]) -> list[int]:
    """How often each request came before."""
    seen: Counter[Hashable] = Counter()
    found = []
    for request in requests:
        found.append(seen[request])
        seen[request] += 1
    return found
