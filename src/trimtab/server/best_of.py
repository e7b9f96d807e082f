"""Best-of-n: the drafts of a call, ranked by registered rewards."""

from collections.abc import Sequence

from trimtab.best_of import rank
from trimtab.engines.base import Continuation, Engine
from trimtab.generation import Generation
from trimtab.models.codec import TextCodec
from trimtab.server.call import Call
from trimtab.server.pieces import Piece


def best_pieces(engine: Engine, call: Call, drafts: Sequence[Piece]) -> list[Piece]:
    """The best drafts of each prompt, best first, each with its score. It runs the rewards, so it takes a while.

    Args:
        engine: computes the rewards.
        call: has a ranking.
        drafts: all samples of the first prompt, then those of the next.
    """
    assert call.ranking is not None
    n = call.params.n
    groups = [drafts[start : start + n] for start in range(0, len(drafts), n)]
    generations = [[as_generation(engine.codec, piece, call.params.stop) for piece in group] for group in groups]
    ranked = rank(engine, call.ranking, [request.prefix for request in call.requests], generations)
    best = []
    for group, written, order in zip(groups, generations, ranked, strict=True):
        places = {id(draft): place for place, draft in enumerate(written)}
        scored = zip(order.drafts[: call.kept], order.scores[: call.kept], strict=True)
        best += [group[places[id(draft)]].with_score(score) for draft, score in scored]
    return best


def as_generation(codec: TextCodec, piece: Piece, stop: Sequence[str]) -> Generation:
    """A finished piece as the library's result; `stop` are the strings that may have ended it."""
    assert piece.finish_reason is not None
    continuation = Continuation(tuple(token.choice for token in piece.tokens), piece.finish_reason)
    return Generation(codec, "", [continuation], stop)
