"""The same steering inside transformers' `generate`, as a logits processor."""

from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import LogitsProcessor, PreTrainedTokenizerBase

from trimtab.checking import checked, shown
from trimtab.engines.sampling_params import DEFAULT_TOP_K, MAX_COUNT, SamplingParams
from trimtab.engines.torch.guide import Guide
from trimtab.errors import InvalidPrompt, InvalidSetting, RewardMismatch
from trimtab.models.codec import vocabulary_fingerprint
from trimtab.models.frozen_lm import PromptBatch
from trimtab.rewards.reward_model import RewardModel
from trimtab.steering.reward import Reward
from trimtab.steering.rule import scatter_candidates, top_candidates
from trimtab.steering.steer import Steer, distinct_rewards

MOST_ADVANCED = 8  # tokens that are appended one by one; a prompt is encoded at once
PROBE = 1.0  # the logit of every token when transformers' prompt lookup asks which tokens are forbidden
PADDED_TO = (64, 128)  # models pad their vocabulary to a multiple of one of these


@final
@checked
class SteeringProcessor(LogitsProcessor):
    """Steers `model.generate(**ids, logits_processor=[SteeringProcessor(steer)])`: greedy, sampling and beam search.

    transformers applies its own temperature, top-k and top-p afterwards, so β means the same as everywhere else.

    The state of the rewards is a function of the batch's tokens. It is kept while the batch grows by one token per
    call, in any order of rows (beam search re-orders them), and where the batch shares its prompt and more with the
    last call: what differs is taken back. So assisted generation (`prompt_lookup_num_tokens`, `assistant_model`)
    encodes no prompt twice. Anything else starts a new state: a re-used processor, or one that saw another prompt,
    cannot leak.

    Assisted generation steers the assistant, too. Before prompt lookup drafts, it asks processors which tokens they
    forbid, by logits that are all 1; steering forbids none there, because it knows no candidates.

    `generate` hides the model's hidden states from its processors. A reward that could read them runs its own trunk
    here instead; `LanguageModel.generate` is faster for those. It also hides the tokenizer: give it, and another one
    than the reward's is refused. Without it only the number of logits is compared, and another tokenizer of the same
    size is not noticed.

    Rewards read the tokens of the prompt: pass `input_ids`, not `inputs_embeds`. Left padding is recognised by its
    token id: a prompt that really starts with that token loses it for the reward, not for the model.

    Args:
        steer: how to steer.
        top_k, top_p: the candidates.
        max_kl: a budget for steering, in nats per token, as in `SamplingParams`.
        pad_token_id: the id that pads a batch on the left; default: that of the reward's tokenizer.
        tokenizer: the model's; needed for rewards that are no `RewardModel`.

    Raises:
        InvalidSetting: a setting out of range, or no tokenizer where one is needed; in a call: `inputs_embeds` without
            ids.
        RewardMismatch: the tokenizer is another one than a reward's; in a call: the model has another number of tokens.
        NonFiniteReward, NonFiniteLogits: in a call: a reward, or the model, gives NaN or an infinite number.
    """

    def __init__(
        self,
        steer: Steer,
        top_k: int | None = DEFAULT_TOP_K,
        top_p: float | None = None,
        pad_token_id: int | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        max_kl: float | None = None,
    ):
        steer.check_acts()
        if pad_token_id is not None and not 0 <= pad_token_id < MAX_COUNT:
            raise InvalidSetting(f"got pad_token_id={shown(pad_token_id)}, expected a token id")
        self._steer = steer
        self._params = SamplingParams(top_k=top_k, top_p=top_p, max_kl=max_kl)
        for reward in distinct_rewards([steer]):
            reward.check_candidates(self._params.top_k)
            check_tokenizer(reward, tokenizer)
        self._is_same_tokenizer = tokenizer is not None
        self._pad_token_id = steer.terms[0].reward.pad_token_id if pad_token_id is None else pad_token_id
        self._guide: Guide | None = None
        self._seen: Tensor | None = None
        self._prompt = 0  # columns that were encoded at once

    def __call__(
        self, input_ids: Int[Tensor, "rows tokens"], scores: Float[Tensor, "rows vocabulary"]
    ) -> Float[Tensor, "rows vocabulary"]:
        """z' for each row: steered on its candidates, −inf elsewhere."""
        tokens = self._check(input_ids, scores)
        return scores if is_probe(scores) else self._steered(input_ids, scores, tokens).clone()  # others may change it

    @torch.inference_mode()
    def _steered(self, input_ids: Tensor, scores: Tensor, tokens: int) -> Tensor:
        guide, self._guide = self._follow(input_ids), None  # a call that is interrupted leaves none
        candidates = top_candidates(scores[:, :tokens], self._params.top_k, self._params.top_p)
        max_kl = self._params.max_kl
        budget = None if max_kl is None else scores.new_full(scores.shape[:1], max_kl)
        steered, _ = guide.steer(candidates, scores, budget)
        self._guide = guide
        return scatter_candidates(steered, candidates, scores.shape[1]).to(scores.dtype)

    def _check(self, ids: Tensor, scores: Tensor) -> int:
        """Refuse what cannot be steered; returns how many tokens the model and all rewards have."""
        if not ids.shape[1]:
            raise InvalidSetting(
                "got inputs_embeds without input_ids, expected input_ids: a reward reads the tokens of the prompt"
            )
        rewards = [each for each in distinct_rewards([self._steer]) if isinstance(each, RewardModel)]
        for reward in rewards:
            check_same_vocabulary(reward, scores.shape[1], self._is_same_tokenizer)
        tokens = min([scores.shape[1], *(reward.base.vocabulary_size for reward in rewards)])
        self._params.check_vocabulary(tokens)
        self._params.check_choice(tokens)
        if self._seen is None:
            self._steer.check_acts(tokens)
        if ids.shape[1] >= room_of(self._steer):  # padding included
            check_room(self._steer, int(self._prompt_mask(ids).sum(1).max()))
        return tokens

    def _follow(self, ids: Tensor) -> Guide:
        """The guide for these prefixes: the last one, advanced or taken back to what is common, or a new one."""
        parents, common = self._parents(ids), self._common(ids)
        guide, self._guide = self._guide, None
        if guide is not None and parents is not None:
            if not torch.equal(parents, torch.arange(len(parents), device=ids.device)):
                guide.select(parents)
            guide.advance(ids[:, -1])
        elif guide is not None and self._seen is not None and common >= max(self._prompt, ids.shape[1] - MOST_ADVANCED):
            guide.rollback(self._seen.shape[1] - common)
            for tokens in ids[:, common:].unbind(1):
                guide.advance(tokens)
        else:
            guide = Guide([self._steer] * ids.shape[0], ids.device)
            guide.prefill(PromptBatch(ids, self._prompt_mask(ids)))
            self._prompt = ids.shape[1]
        self._seen = ids.clone()
        return guide

    def _common(self, ids: Tensor) -> int:
        """How many first columns are those of the last call, in every row."""
        seen = self._seen
        if seen is None or seen.device != ids.device or len(seen) != len(ids):
            return 0
        width = min(seen.shape[1], ids.shape[1])
        return int((seen[:, :width] == ids[:, :width]).all(0).int().cumprod(0).sum())

    def _parents(self, ids: Tensor) -> Tensor | None:
        """The row of the last call that each row continues by one token; None if a row continues none."""
        seen = self._seen
        if seen is None or seen.device != ids.device or ids.shape[1] != seen.shape[1] + 1:
            return None
        same = (ids[:, None, :-1] == seen[None]).all(-1)
        return same.int().argmax(1) if bool(same.any(1).all()) else None

    def _prompt_mask(self, ids: Tensor) -> Tensor:
        mask = (ids != self._pad_token_id).cumsum(1) > 0
        mask[:, -1] = True
        return mask


def is_probe(scores: Float[Tensor, "rows vocabulary"]) -> bool:
    """Whether scores are no model's, but those by which transformers' prompt lookup asks which tokens are forbidden.

    They are all 1, but for what other processors changed.
    """
    return bool((scores == PROBE).float().mean() > 0.5)


def room_of(steer: Steer) -> int:
    """The most tokens that all rewards of a steer can read."""
    return min(reward.context_length - reward.extra_tokens for reward in distinct_rewards([steer]))


def check_room(steer: Steer, tokens: int) -> None:
    """Refuse a text of so many tokens that a reward has no room for another one.

    Raises:
        InvalidPrompt: it has none.
    """
    if tokens >= (room := room_of(steer)):
        raise InvalidPrompt(f"got a text of {tokens} tokens, expected fewer than {room}, which its rewards can read")


def check_tokenizer(reward: Reward, tokenizer: PreTrainedTokenizerBase | None) -> None:
    """Refuse another tokenizer than a reward's.

    Raises:
        RewardMismatch: it is another one.
        InvalidSetting: there is none, and the reward does not tell how many tokens it has.
    """
    if tokenizer is not None:
        reward.check_serves(vocabulary_fingerprint(tokenizer))
    elif not isinstance(reward, RewardModel):
        raise InvalidSetting(
            f"got {reward.name!r}, which does not tell its number of tokens; expected tokenizer=, that of the model"
        )


def check_same_vocabulary(reward: RewardModel, logits: int, is_same_tokenizer: bool = False) -> None:
    """Refuse a model with another number of tokens than a reward.

    Args:
        reward: the reward.
        logits: how many logits the model returns.
        is_same_tokenizer: the model's tokenizer is known to be the reward's; then any padding will do. Otherwise the
            model has the tokens of the tokenizer or the rows of the reward's base, or these padded to a multiple of 64
            or 128.

    Raises:
        RewardMismatch: the message names both numbers.
    """
    rows = reward.base.vocabulary_size
    tokens = min(rows, len(reward.base.tokenizer))
    sizes = {tokens, rows, *(-(-size // to) * to for size in (tokens, rows) for to in PADDED_TO)}
    if logits not in sizes and not (is_same_tokenizer and logits >= tokens):
        raise RewardMismatch(
            f"got a model with {logits} logits, expected {tokens}, the tokens of the reward {reward.name!r}, or these "
            "padded to a multiple of 64 or 128; steer a model that has the reward's tokenizer, given as tokenizer="
        )
