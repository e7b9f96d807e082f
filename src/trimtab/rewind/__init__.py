"""Rewind: a tree search in which drafts are written, judged and taken back (RAIN, 2309.07124)."""

from typing import TYPE_CHECKING

from trimtab.lazy import lazy_exports

if TYPE_CHECKING:
    from trimtab.rewind.record import Branch, Commit
    from trimtab.rewind.result import SearchResult
    from trimtab.rewind.rewind_settings import Budget, RewindSettings
    from trimtab.rewind.runner import SearchProgress
    from trimtab.rewind.similarity import Similarity

__all__ = ["Branch", "Budget", "Commit", "RewindSettings", "SearchProgress", "SearchResult", "Similarity"]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "Branch": "trimtab.rewind.record",
        "Budget": "trimtab.rewind.rewind_settings",
        "Commit": "trimtab.rewind.record",
        "RewindSettings": "trimtab.rewind.rewind_settings",
        "SearchProgress": "trimtab.rewind.runner",
        "SearchResult": "trimtab.rewind.result",
        "Similarity": "trimtab.rewind.similarity",
    },
)
