"""Responses and events in OpenAI's shape, with what steered them under `trimtab`."""

from collections.abc import Mapping, Sequence
from typing import Any, final

import torch

from trimtab.engines.base import Engine, FinishReason, Request, StartsBatches
from trimtab.engines.provenance import provenance
from trimtab.engines.torch.sampling import row_keys
from trimtab.judges.load import as_judge
from trimtab.models.codec import TextCodec
from trimtab.rewind.runner import search_facts
from trimtab.rewind.similarity import as_similarity
from trimtab.server.call import Call
from trimtab.server.logprobs import chat_logprobs, text_logprobs, without_eos
from trimtab.server.pieces import Piece
from trimtab.server.searches import budget_of, judge_of

FINISH = {"eos": "stop", "stop": "stop", "length": "length", "budget": "length", "interrupted": "length"}


@final
class Responses:
    """Builds the responses of one server.

    Args:
        engine: is described once, because hashing weights takes time.
        served: the model's public name; it replaces the name that the model was loaded by, which may be a folder.
    """

    def __init__(self, engine: Engine, served: str):
        self._codec: TextCodec = engine.codec
        self._keyed = isinstance(engine, StartsBatches)  # they draw by the keys of `row_keys`
        self._described, self._served = provenance(engine), served

    def provenance(self, call: Call) -> dict[str, Any]:
        """What writes a call's texts, without the name of any folder."""
        how = {"sampling": sampling_record(call)} if call.search is None else search_description(call)
        own = {"steer": call.steer.describe() if call.steer else [], **how}
        return public({**self._described, **own}, self._described["model"], self._served)

    def about(self, call: Call) -> dict[str, Any]:
        """The field `trimtab` of a response."""
        record = self.provenance(call)
        ranking = {} if call.ranking is None else {"best_of_reward": call.ranking.describe()}
        traced = self._traced(call) if call.trace else {}
        return {"steer": record["steer"], "seed": call.params.seed, **ranking, **traced, "provenance": record}

    def _traced(self, call: Call) -> dict[str, Any]:
        """What a client needs to repeat the choices of a trace: the tokens around it, and the keys of the noise."""
        sampled = self._keyed and call.ranking is None and call.search is None
        return {
            "prompt_token_ids": [list(request.prefix) for request in call.requests],
            "eos_token_ids": sorted(self._codec.eos_token_ids),
            **({"noise_keys": noise_keys(call.requests)} if sampled else {}),
        }

    def whole(self, call: Call, pieces: Sequence[Piece], tokens: int) -> dict[str, Any]:
        """The response that is not streamed: one piece for each choice, and how many tokens were written in all."""
        return {
            **self._head(call, call.kind),
            "choices": [self._choice(call, index, piece, whole=True) for index, piece in enumerate(pieces)],
            "usage": usage(call, tokens),
            "trimtab": self.about(call),
        }

    def opening(self, call: Call) -> dict[str, Any]:
        """The first event of a stream: what steers it and, in a chat, the role of every choice."""
        chat = call.kind == "chat.completion"
        choices: list[dict[str, Any]] = [
            {"index": index, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None}
            for index in range(call.kept if chat else 0)
        ]
        if not chat:
            choices = [{"index": 0, "text": "", "logprobs": None, "finish_reason": None}]
        return {**self._event(call), "choices": choices, "trimtab": self.about(call)}

    def event(self, call: Call, index: int, piece: Piece) -> dict[str, Any]:
        """One event of a stream: new text of one choice."""
        return {**self._event(call), "choices": [self._choice(call, index, piece, whole=False)]}

    def progress(self, call: Call, state: Mapping[str, Any]) -> dict[str, Any]:
        """An event without choices that says how far drafts or a search are."""
        return {**self._event(call), "choices": [], "trimtab": {"progress": dict(state)}}

    def closing(self, call: Call, tokens: int) -> dict[str, Any]:
        """The event with the usage, which has no choices."""
        return {**self._event(call), "choices": [], "usage": usage(call, tokens)}

    def _head(self, call: Call, kind: str) -> dict[str, Any]:
        return {"id": call.id, "object": kind, "created": call.created, "model": call.model}

    def _event(self, call: Call) -> dict[str, Any]:
        kind = "chat.completion.chunk" if call.kind == "chat.completion" else call.kind
        return self._head(call, kind) | ({"usage": None} if call.include_usage else {})

    def _choice(self, call: Call, index: int, piece: Piece, whole: bool) -> dict[str, Any]:
        chat = call.kind == "chat.completion"
        text: dict[str, Any] = {"text": piece.text}
        if chat and whole:
            text = {"message": {"role": "assistant", "content": piece.text}}
        elif chat:
            text = {"delta": {"content": piece.text} if piece.text or not piece.finish_reason else {}}
        about = dict(piece.about) | ({"trace": [token.as_dict() for token in piece.tokens]} if call.trace else {})
        return {
            "index": index,
            **text,
            "logprobs": self._logprobs(call, piece),
            "finish_reason": finish_reason(piece.finish_reason),
            **({"trimtab": about} if about else {}),
        }

    def _logprobs(self, call: Call, piece: Piece) -> dict[str, Any] | None:
        if call.logprobs is None:
            return None
        steered = call.steer is not None
        tokens = piece.tokens if call.echo else without_eos(piece.tokens, self._codec)
        if call.kind == "chat.completion":
            return chat_logprobs(tokens, call.logprobs, steered)
        return text_logprobs(tokens, piece, call.logprobs, steered)


def finish_reason(reason: FinishReason | None) -> str | None:
    """Why a text ends, in OpenAI's words."""
    return None if reason is None else FINISH[reason]


def usage(call: Call, tokens: int) -> dict[str, int]:
    """Tokens of the prompts and of the texts; an EOS counts."""
    return {
        "prompt_tokens": call.prompt_tokens,
        "completion_tokens": tokens,
        "total_tokens": call.prompt_tokens + tokens,
    }


def noise_keys(requests: Sequence[Request]) -> list[str]:
    """The key of each sample's Gumbel noise, as text: JavaScript's numbers do not hold 63 bits."""
    return [str(key) for key in row_keys(requests, torch.device("cpu")).tolist()]


def sampling_record(call: Call) -> dict[str, Any]:
    """The sampling settings, ready for JSON."""
    return {name: getattr(call.params, name) for name in call.params.__dataclass_fields__}


def search_description(call: Call) -> dict[str, Any]:
    """The judge and the settings of a call's search, ready for JSON."""
    assert call.search is not None
    assert call.search_settings is not None
    assert call.params.seed is not None
    judge, similarity = as_judge(judge_of(call)), as_similarity(call.search.similarity)
    return search_facts(
        judge, similarity, call.search_settings, budget_of(call), list(call.params.stop), call.params.seed
    )


def public(record: Mapping[str, Any], private_name: str, public_name: str) -> dict[str, Any]:
    """A record in which the model has its public name."""

    def shown(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: shown(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [shown(each) for each in value]
        return public_name if value == private_name else value

    return {key: shown(value) for key, value in record.items()}
