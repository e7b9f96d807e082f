"""Steered models in EleutherAI's lm-evaluation-harness: the effect of steering on general ability.

    python -m trimtab.harness run --model trimtab --model_args "pretrained=smollm2,steer=toxicity=-30" --tasks arc_easy

is `lm_eval` with one more model. Model arguments: `pretrained`, `steer` (several joined by ";"), `method`, `top_k`,
`dtype`, `device`, `batch_size`, `max_gen_toks`. Without `steer` the figures equal the harness's own for that model.
"""

import itertools
import logging
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar, cast, final

import torch

try:
    from lm_eval.__main__ import cli_evaluate
    from lm_eval.api.model import TemplateLM
    from lm_eval.api.registry import register_model
    from lm_eval.models.utils import normalize_gen_kwargs
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
except ImportError as missing:
    raise ImportError("trimtab.harness needs lm-evaluation-harness: pip install 'trimtab[harness]'") from missing

from rich.progress import track

from trimtab.engines.base import Request
from trimtab.engines.repeats import earlier_equals
from trimtab.engines.sampling_params import DEFAULT_TOP_K, SamplingParams
from trimtab.errors import InvalidSetting
from trimtab.loading import load
from trimtab.models.detokenizer import cut_at_stop
from trimtab.models.dtypes import Dtype
from trimtab.rewards.registry import load_steers
from trimtab.steering.steer import distinct_rewards

LOG = logging.getLogger("lm_eval")
READ = {"until", "max_gen_toks", "do_sample", "temperature", "top_k", "top_p", "repetition_penalty"}
Item = TypeVar("Item")
Tokens = tuple[Any, list[int], list[int]]  # the harness's key, None for a part of a text; context; continuation


@register_model("trimtab")
@final
class HarnessLM(TemplateLM):
    """A steered language model.

    The log-likelihood of a continuation is that of writing it: steered, over the top k of each step. A token outside
    the top k is added to the candidates of its step: a likelihood of 0 could not be compared.

    Args:
        pretrained: smollm2, a folder, a .gguf file or a Hub id.
        steer: NAME[:ATTRIBUTE]=±β, several joined by ";"; empty for the unsteered model over its whole vocabulary.
        method: arm or rad, for a bundled reward that has both.
        retokenize: whether rewards of another tokenizer may steer, slowly, as in `trimtab.reward`.
        top_k: the candidates of a steered step; 0 for the whole vocabulary (Q-heads only).
        max_kl: the steer's budget, in nats per token; default: none.
        dtype: float32 or bfloat16; default as in `trimtab.load`.
        device: a torch device.
        batch_size: texts in one batch.
        max_gen_toks: maximum new tokens, if a task does not say.
        max_batch_size: passed by the harness; not used.
    """

    def __init__(
        self,
        pretrained: str = "smollm2",
        steer: str = "",
        method: str | None = None,
        retokenize: bool = False,
        top_k: int = DEFAULT_TOP_K,
        max_kl: float | None = None,
        dtype: str | None = None,
        device: str | None = None,
        batch_size: int | str = 16,
        max_gen_toks: int = 256,
        max_batch_size: int | None = None,
    ):
        super().__init__()
        if device is not None and device.startswith("cuda") and not torch.cuda.is_available():
            device = None  # cuda:0 is the harness's default even without a GPU
        self.lm = load(pretrained, device, cast(Dtype | None, dtype or None))
        self.codec = self.lm.engine.codec
        steers = [part for part in steer.split(";") if part]
        self.steer = load_steers(steers, method, self.lm.engine.base, bool(retokenize))
        self.top_k = (int(top_k) or None) if self.steer else None
        self.max_kl = None if max_kl is None else float(max_kl)
        self.batch_size = int(batch_size) if str(batch_size).isdigit() else 16
        self.max_gen_toks = int(max_gen_toks)
        self._device = torch.device(self.lm.engine.describe().get("device", "cpu"))
        rooms = [reward.context_length - reward.extra_tokens for reward in distinct_rewards([self.steer])]
        self._room = min([self.max_length + 1, *rooms])  # tokens of a text; the model does not read the last one

    @property
    def eot_token_id(self) -> int:
        """The token that ends a text."""
        return min(self.codec.eos_token_ids)

    @property
    def prefix_token_id(self) -> int:
        """The token that stands before a text without context."""
        first = self.codec.bos_token_id
        return self.eot_token_id if first is None else first

    @property
    def max_length(self) -> int:
        """The context, in tokens."""
        return self.codec.context_length

    @property
    def tokenizer_name(self) -> str:
        """The key of the harness's caches."""
        return self.codec.name.replace("/", "__")

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        """Token ids. If nothing is said, BOS stands before them where the tokenizer puts one, and only once."""
        ids, opening = self.codec.encode_text(string), self.codec.opening_ids()
        if add_special_tokens is None:
            add_special_tokens = ids[: len(opening)] != opening
        return [*opening, *ids] if add_special_tokens else ids

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """A conversation in the model's chat template, with the assistant's turn open or the last message continued."""
        turns = [{"role": turn["role"], "content": turn["content"]} for turn in chat_history]
        return self.codec.render(turns, continue_final_message=not add_generation_prompt)

    def _loglikelihood_tokens(
        self, requests: list[Tokens], disable_tqdm: bool = False, **_: Any
    ) -> list[tuple[float, bool]]:
        order = sorted(range(len(requests)), key=lambda n: -len(requests[n][1]) - len(requests[n][2]))
        found: list[tuple[float, bool]] = [(0.0, False)] * len(requests)
        for batch in self._batches(order, "log-likelihoods", disable_tqdm):
            given = [self._fitted(requests[n][1], requests[n][2]) for n in batch]
            prefixes, continuations = [context for context, _ in given], [continuation for _, continuation in given]
            scored = self.lm.engine.score(
                prefixes, [[each] for each in continuations], self.steer, self.top_k, self.max_kl
            )
            for n, (logprobs, greedy) in zip(batch, scored, strict=True):
                found[n] = (float(logprobs[0]), bool(greedy[0]))
                if (key := requests[n][0]) is not None:
                    self.cache_hook.add_partial("loglikelihood", key, found[n])
        return found

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """The log-likelihood of whole texts, each token given as much of what precedes it as the context holds."""
        windows = [
            (number, *make_disjoint_window(window))
            for number, request in enumerate(requests)
            for window in get_rolling_token_windows(
                self.tok_encode(request.args[0]), self.prefix_token_id, self._room - 1, context_len=1
            )
        ]
        totals = [0.0] * len(requests)
        asked: list[Tokens] = [(None, context, continuation) for _, context, continuation in windows]
        for (number, *_), (logprob, _) in zip(windows, self._loglikelihood_tokens(asked, disable_tqdm), strict=True):
            totals[number] += logprob
        for request, total in zip(requests, totals, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, total)
        return totals

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Continue each context until one of its task's stop strings."""
        order = sorted(range(len(requests)), key=lambda n: (str(requests[n].args[1]), -len(requests[n].args[0])))
        samples = earlier_equals((context, str(wanted)) for context, wanted in (each.args for each in requests))
        found = [""] * len(requests)
        for _, group in itertools.groupby(order, key=lambda n: str(requests[n].args[1])):
            numbers = list(group)
            params = self._params(requests[numbers[0]].args[1])
            for batch in self._batches(numbers, "generations", disable_tqdm):
                texts = self._generate([requests[n].args[0] for n in batch], [samples[n] for n in batch], params)
                for n, text in zip(batch, texts, strict=True):
                    found[n] = text
                    self.cache_hook.add_partial("generate_until", requests[n].args, text)
        return found

    def _params(self, wanted: dict[str, Any]) -> SamplingParams:
        """A task's settings. What it says of candidates holds; the top k of `model_args` is for tasks that say nothing.

        Raises:
            InvalidSetting: there are more new tokens than the context holds.
        """
        settings = normalize_gen_kwargs(dict(wanted), self.max_gen_toks)
        if settings["max_gen_toks"] >= (room := min(self.max_length, self._room)):
            raise InvalidSetting(
                f"got max_gen_toks={settings['max_gen_toks']}, expected less than the context of {room} "
                "tokens; set it with --gen_kwargs"
            )
        if unread := sorted(settings.keys() - READ):
            LOG.warning("trimtab does not read the generation settings %s", ", ".join(unread))
        return SamplingParams(
            top_k=settings.get("top_k") or self.top_k,
            top_p=settings.get("top_p"),
            temperature=settings.get("temperature") or 0.0,
            max_new_tokens=settings["max_gen_toks"],
            stop=tuple(text for text in settings["until"] if text),
            seed=0,
            max_kl=self.max_kl,
            repetition_penalty=settings.get("repetition_penalty"),
        )

    def _generate(self, contexts: Sequence[str], samples: Sequence[int], params: SamplingParams) -> list[str]:
        room = min(self.max_length, self._room) - params.max_new_tokens
        prefixes = [(self.tok_encode(context) or [self.prefix_token_id])[-room:] for context in contexts]
        requests = [
            Request(prefix, params, self.steer, first_sample=sample)
            for prefix, sample in zip(prefixes, samples, strict=True)
        ]
        return [
            cut_at_stop(self.codec.decode(one.token_ids), params.stop) for (one,) in self.lm.engine.sample(requests)
        ]

    def _fitted(self, context: list[int], continuation: list[int]) -> tuple[list[int], list[int]]:
        """Context and continuation, cut on the left to the room that there is."""
        continuation = continuation[-(self._room - 1) :]
        return context[-(self._room - len(continuation)) :], continuation

    def _batches(self, items: Sequence[Item], name: str, quiet: bool) -> Iterator[Sequence[Item]]:
        starts = range(0, len(items), self.batch_size)
        for start in track(starts, name, disable=quiet or not items):
            yield items[start : start + self.batch_size]


if __name__ == "__main__":
    cli_evaluate()
