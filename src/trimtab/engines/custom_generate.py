"""The decode loop for transformers' `generate(custom_generate=…)`: steering that reads the model's hidden states.

A logits processor sees tokens and logits only. Here the loop is ours, so a reward on the model's own state reads that
state, and no second forward runs.
"""

from typing import Any, Protocol, final, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import (
    GenerationConfig,
    LogitsProcessorList,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    StoppingCriteriaList,
)
from transformers.generation import GenerateDecoderOnlyOutput

from trimtab.checking import checked
from trimtab.engines.generate_arguments import Outputs, check_arguments, split_processors
from trimtab.engines.processor import check_room, check_same_vocabulary, check_tokenizer
from trimtab.engines.sampling_params import DEFAULT_TOP_K, SamplingParams
from trimtab.engines.torch.guide import Guide
from trimtab.models.frozen_lm import PromptBatch
from trimtab.models.kv_cache import KVCache
from trimtab.models.steerable import check_architecture
from trimtab.rewards.reward_model import RewardModel
from trimtab.steering.rule import scatter_candidates, top_candidates
from trimtab.steering.steer import Steer, distinct_rewards, readers_of


@runtime_checkable
class Streamer(Protocol):
    """What receives tokens as they are written, such as transformers' `TextStreamer`."""

    def put(self, value: Tensor) -> None:
        """Take the prompt, then the new token of each row."""

    def end(self) -> None:
        """The text has ended."""


@checked
def custom_generate(
    steer: Steer | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    top_k: int | None = DEFAULT_TOP_K,
    top_p: float | None = None,
    max_kl: float | None = None,
    streamer: Streamer | None = None,
) -> "SteeredLoop":
    """Steer `model.generate(**ids, custom_generate=custom_generate(steer))`: greedy and sampling.

    With the same seed it writes the text of `generate` with a `SteeringProcessor`. A reward on the hidden state of this
    very model object reads it, which costs nothing; the processor would run a second trunk.

    `generate` keeps its meaning: `max_new_tokens`, `do_sample`, `temperature`, `top_k`, `top_p` and the others of that
    kind, `num_return_sequences`, `eos_token_id`, `stopping_criteria`, `logits_processor`, `repetition_penalty`,
    `return_dict_in_generate` with `output_scores` and `output_logits`. Constraints and your own processors run before
    candidates are chosen; temperature, top-k, top-p and the like run after the steer. Randomness is torch's.

    transformers 5 does not pass its own `streamer`, `tokenizer` and `assistant_model` on to a callable: give the
    streamer here, and stop strings as a `StopStringCriteria`.

    Args:
        steer: how to steer; None for plain decoding.
        tokenizer: that of the model; a reward of another tokenizer is refused. Default: only the number of tokens is
            compared, and a reward that does not tell it, such as experts, is refused.
        top_k, top_p: the candidates, chosen before steering. The arguments of that name of `generate` apply after it.
        max_kl: a budget for steering, in nats per token, as in `SamplingParams`.
        streamer: receives the prompt and each token.

    Raises:
        InvalidSetting: a setting out of range, or no tokenizer with a reward that does not tell its number of tokens;
            in a call: beams, another cache, or another argument that this loop does
            not have.
        RewardMismatch: the reward was made for another tokenizer; in a call: for another number of tokens.
        InvalidPrompt: in a call: the text is longer than a reward can read.
        UnsupportedModel: in a call: the model's KV cache cannot be rewound.
        NonFiniteReward: in a call: a reward is NaN or infinite.
    """
    params = SamplingParams(top_k=top_k, top_p=top_p, max_kl=max_kl)
    if steer is not None:
        steer.check_acts()
    for reward in distinct_rewards([steer]):
        reward.check_candidates(params.top_k)
        check_tokenizer(reward, tokenizer)
    return SteeredLoop(steer, params, streamer, tokenizer is not None)


@final
class SteeredLoop:
    """A decode loop that `generate` calls; `custom_generate` makes it. It keeps nothing between calls."""

    def __init__(
        self, steer: Steer | None, params: SamplingParams, streamer: Streamer | None, same_tokenizer: bool = False
    ):
        self._steer, self._params, self._streamer = steer, params, streamer
        self._same_tokenizer = same_tokenizer  # whether it was compared with that of the rewards

    def __call__(
        self,
        model: PreTrainedModel,
        input_ids: Int[Tensor, "rows slots"],
        logits_processor: LogitsProcessorList,
        stopping_criteria: StoppingCriteriaList,
        generation_config: GenerationConfig,
        **model_kwargs: Any,
    ) -> Int[Tensor, "rows tokens"] | GenerateDecoderOnlyOutput:
        """Continue prompts, as `generate` calls it; returns what `generate` returns."""
        check_architecture(model)
        mask = check_arguments(input_ids, generation_config, model_kwargs)
        processors, outputs = split_processors(logits_processor), Outputs(generation_config)
        with torch.inference_mode():
            samples = generation_config.num_return_sequences or 1
            rows = Rows(model, self._steer, input_ids, mask, samples, self._same_tokenizer)
            written = self._write(rows, input_ids, processors, stopping_criteria, generation_config, outputs)
        return outputs.of(written)

    def _write(
        self,
        rows: "Rows",
        input_ids: Int[Tensor, "rows slots"],
        processors: tuple[LogitsProcessorList, LogitsProcessorList],
        stopping_criteria: StoppingCriteriaList,
        config: GenerationConfig,
        outputs: Outputs,
    ) -> Int[Tensor, "rows tokens"]:
        """Prompts and new tokens; a row that has ended is padded."""
        before, after = processors
        streamers = [self._streamer] if self._streamer is not None else []
        ends = any(hasattr(criterion, "eos_token_id") for criterion in stopping_criteria)
        pad: Any = config._pad_token_tensor
        unfinished = torch.ones_like(input_ids[:, 0], dtype=torch.bool)
        for streamer in streamers:
            streamer.put(input_ids.cpu())
        while True:
            scores = after(input_ids, self._steered(rows, before(input_ids, rows.logits.clone())))
            outputs.add(rows.logits, scores)
            chosen = choose(scores, bool(config.do_sample))
            tokens = chosen.where(unfinished, pad.to(chosen.device)) if ends else chosen
            input_ids = torch.cat([input_ids, tokens[:, None]], dim=1)
            for streamer in streamers:
                streamer.put(tokens.cpu())
            unfinished = unfinished & ~stopping_criteria(input_ids, outputs.scores)
            if not bool(unfinished.any()):
                break
            rows.advance(chosen)  # of a row that has ended, too: padding is no candidate, and costs RAD a call
        for streamer in streamers:
            streamer.end()
        return input_ids

    def _steered(self, rows: "Rows", scores: Float[Tensor, "rows vocabulary"]) -> Float[Tensor, "rows vocabulary"]:
        """z' over the whole vocabulary: −inf outside C."""
        if self._steer is None:
            return scores
        size = rows.known_tokens(scores.shape[1])
        self._params.check_vocabulary(size)
        self._params.check_choice(size)
        check_room(self._steer, rows.tokens)
        candidates = top_candidates(scores[:, :size], self._params.top_k, self._params.top_p)
        max_kl = self._params.max_kl
        budget = None if max_kl is None else scores.new_full(scores.shape[:1], max_kl)
        steered, _ = rows.guide.steer(candidates, scores, budget)
        return scatter_candidates(steered, candidates, scores.shape[1])


def choose(scores: Float[Tensor, "rows vocabulary"], sample: bool) -> Int[Tensor, " rows"]:
    """The next token of each row, by torch's random numbers where it is sampled."""
    return torch.multinomial(scores.softmax(-1), 1).squeeze(1) if sample else scores.argmax(-1)


@final
class Rows:
    """The rows of a call: their KV cache, the state of their rewards, and the logits of their next tokens.

    Args:
        model: the language model.
        steer: how to steer.
        ids: the prompts, left-padded, each repeated for its samples.
        mask: False where `ids` is padding.
        samples: of each prompt; they share its prefill.
        same_tokenizer: whether the rewards are known to have the model's tokenizer.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        steer: Steer | None,
        ids: Tensor,
        mask: Tensor,
        samples: int,
        same_tokenizer: bool = False,
    ):
        self.rewards, self._same_tokenizer = distinct_rewards([steer]), same_tokenizer
        first = PromptBatch(ids[::samples].to(model.device), mask[::samples].to(model.device))
        self._host = KVCache(model, readers_of([steer], model))
        self.guide = Guide([steer] * len(first.ids), model.device, self._host)
        logits = self._host.feed(first.ids, first.mask).logits[:, -1]
        self.logits = logits.to(ids.device, torch.float32)
        size = self.known_tokens(self.logits.shape[1])
        if steer is not None:
            steer.check_acts(size)
        self.tokens = int(mask.sum(1).max())  # of the longest row
        self.guide.prefill(first)
        if samples > 1:
            copies = torch.arange(len(first.ids), device=model.device).repeat_interleave(samples)
            self._host.select(copies)
            self.guide.select(copies)
            self.logits = self.logits[copies.to(ids.device)]

    def advance(self, tokens: Int[Tensor, " rows"]) -> None:
        """Append each row's token."""
        self.tokens += 1
        fed = tokens.to(self._host.model.device)
        self.guide.advance(fed)
        self.logits = self._host.feed(fed[:, None]).logits[:, -1].to(tokens.device, torch.float32)

    def known_tokens(self, logits: int) -> int:
        """How many tokens the model and all rewards have; errors as in `check_same_vocabulary`."""
        models = [reward for reward in self.rewards if isinstance(reward, RewardModel)]
        for reward in models:
            check_same_vocabulary(reward, logits, self._same_tokenizer)
        return min([logits, *(reward.base.vocabulary_size for reward in models)])
