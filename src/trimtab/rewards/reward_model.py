"""A reward model: users load it, steer with it, score texts with it and save it. It never changes."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from trimtab.checking import checked, shown, warn_caller
from trimtab.errors import CorruptReward, InvalidPrompt, InvalidSetting, ModelNotFound
from trimtab.models.fingerprints import fingerprint_of
from trimtab.models.frozen_lm import FrozenLM, PromptBatch
from trimtab.models.kv_cache import KVCache
from trimtab.models.side_network import LAST, Reader
from trimtab.rewards.adapters import merge_adapters, merging_pays, quick_adapters
from trimtab.rewards.base_path import check_located, earlier_place, find_base
from trimtab.rewards.card import HASHES, WEIGHTS_FILE, RewardCard, UncheckedReward, read_card
from trimtab.rewards.finite import check_finite
from trimtab.rewards.folder import put_own_tensors, write_reward
from trimtab.rewards.heads import head_kind
from trimtab.rewards.heads.base import PrefixRewards
from trimtab.rewards.network import RewardNetwork, build_network, reward_tensors
from trimtab.rewards.scored_texts import encode_scored
from trimtab.rewards.shares import shares
from trimtab.rewards.sharing import push_reward
from trimtab.rewards.single_term import steer_by
from trimtab.rewards.trunk import PrefixEncoder
from trimtab.rewards.weights import read_weights
from trimtab.steering.reward import RewardState
from trimtab.steering.steer import Clamp, Steer


@final
class RewardModel:
    """A trained reward: trunk, head and card.

    Args:
        network: the trunk and the head, put into eval mode.
        card: their description.
        base: the language model whose layers the trunk has.
        name: the reward's name in traces and messages.
        source: the name, folder or Hub id that it was loaded by; default: its name.
        fingerprint: the hash of the weights as they were saved; default: computed from the network.
        merge_adapters: whether steering runs a copy of the linear maps with the adapters added in: faster, for their
            memory. Default: if that takes at most 4 GiB, and no weight is quantized. Scoring, saving and training
            never do.
    """

    def __init__(
        self,
        network: RewardNetwork,
        card: RewardCard,
        base: FrozenLM,
        name: str = "reward",
        source: str | None = None,
        fingerprint: str | None = None,
        merge_adapters: bool | None = None,
    ):
        self.network = network.eval().requires_grad_(False)
        self.card = card
        self.base = base
        self.name = name
        self.source = name if source is None else source
        self._saved_fingerprint = fingerprint
        self._merges = merging_pays(network.trunk) if merge_adapters is None else merge_adapters

    def __repr__(self) -> str:
        head = self.network.head.describe(self.card)
        return f"RewardModel({self.name!r}, {head}, {self.card.layers} layers of {self.card.base})"

    @property
    def attributes(self) -> tuple[str, ...]:
        """The names of the rewards, in the order of their columns."""
        return self.card.attributes

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the reward's own weights, computed once.

        A loaded reward has the hash of its file's weights, whatever the dtype that it is loaded in. A reward in memory
        is hashed in its own dtype: a save that rounds the weights, and `merged`, change the fingerprint.
        """
        return self._saved_fingerprint or fingerprint_of(reward_tensors(self.network, self.card.trunk))

    def describe(self) -> dict[str, str]:
        """The reward in records of a run: its name, what loads it, hashes of its weights, card and file, its base."""
        about = {
            "reward": self.name,
            "source": self.source,
            "fingerprint": self.fingerprint,
            "card_fingerprint": self.card.fingerprint,
            "base": self.base.name,
            "base_weights_fingerprint": self.base.base_weights_fingerprint,
        }
        return about | ({"weights_sha256": self.card.weights_sha256} if self.card.weights_sha256 else {})

    @property
    def extra_tokens(self) -> int:
        """1 if BOS is put before a prompt, else 0."""
        return self.card.extra_tokens

    @property
    def pad_token_id(self) -> int:
        """The token that pads a batch on the left."""
        return self.base.pad_token_id

    @property
    def context_length(self) -> int:
        """The longest prefix that the trunk's positions allow, in tokens."""
        return self.base.context_length

    @checked
    def toward(
        self, beta: float, attribute: str | None = None, clamp: Clamp | None = None, min_entropy: float = 0.0
    ) -> Steer:
        """A steer towards high rewards: z_v + β · clamp(r(v)).

        Args:
            beta: the steering strength β, in logits per unit of reward; 10 to 60 is usual.
            attribute: which reward; default the first.
            clamp: the range to clamp to; default the card's.
            min_entropy: steer only where the base's next-token entropy, in nats, is at least this.

        Raises:
            UnknownAttribute: the reward has no such attribute.
            InvalidSetting: a number out of range, or an argument of another type.
        """
        return steer_by(self, self.card, beta, attribute, clamp, min_entropy, away=False)

    @checked
    def away(
        self, beta: float, attribute: str | None = None, clamp: Clamp | None = None, min_entropy: float = 0.0
    ) -> Steer:
        """A steer towards low rewards: z_v + β · (high + low − clamp(r(v))). Arguments and errors as in `toward`."""
        return steer_by(self, self.card, beta, attribute, clamp, min_entropy, away=True)

    def check_serves(self, tokenizer_fingerprint: str) -> None:
        """Check that a language model has the reward's tokenizer.

        Raises:
            RewardMismatch: the vocabularies differ.
        """
        self.card.check_tokenizer(self.source, tokenizer_fingerprint)

    def check_candidates(self, k: int | None) -> None:
        """Check that the head can score that many candidates per step.

        Args:
            k: how many; None for the whole vocabulary.

        Raises:
            InvalidSetting: k is more than the head's limit.
        """
        self.card.check_candidates(self.name, k)

    def reads(self, model: object) -> Reader | None:
        """What to read from the cache of `model`: a depth, or a ladder; None if the reward runs its own trunk."""
        able = self.card.trunk in ("frozen", "ladder") and head_kind(self.card.head).reads_host
        if not able or model is not self.base.model:
            return None
        if self.card.bos_token_id is not None and not self.base.prepends_bos:
            return None
        return self.network.ladder or (LAST if self.card.layers == self.base.layers else self.card.layers)

    def start(self, host: KVCache | None = None) -> RewardState:
        """A fresh per-request state.

        Args:
            host: the cache of the steered language model. If `reads` returns a reader, the model's hidden states are
                read and no trunk runs. Otherwise its prefix cache and its usage count serve the trunk too.
        """
        head = self.network.head
        if host is None or (reader := self.reads(host.model)) is None:
            return head.start(self.prefix_encoder, host)
        below_the_top = isinstance(reader, int) and reader != LAST
        return head.start_on_host(host, reader, self.base.final_norm if below_the_top else None)

    @cached_property
    def prefix_encoder(self) -> PrefixEncoder:
        """The trunk as steering runs it. The adapters are merged when it is first asked for."""
        trained = self.network.encoder
        if self.card.trunk != "lora":
            return trained
        return replace(trained, trunk=(merge_adapters if self._merges else quick_adapters)(trained.trunk))

    def renamed(self, name: str) -> "RewardModel":
        """The same reward under another name, also in records."""
        return RewardModel(self.network, self.card, self.base, name, name, self.fingerprint, self._merges)

    def merged(self) -> "RewardModel":
        """The same reward with its adapters added into a trunk of its own, for scoring and saving, too.

        A merged reward is saved with its whole trunk. A reward without adapters is returned unchanged.
        """
        if self.card.trunk != "lora":
            return self
        network = RewardNetwork(merge_adapters(self.network.trunk), self.network.head, self.card.bos_token_id)
        card = replace(self.card, trunk="full", weights_dtype=None, weights_sha256=None)
        return RewardModel(network, card, self.base, self.name, self.source)

    @checked
    def encode(self, text: str) -> list[int]:
        """Token ids of a text, without special tokens; the network adds BOS.

        Raises:
            InvalidPrompt: the text is empty or longer than the context.
        """
        return encode_scored(self.card, self.base.codec, text)

    @torch.inference_mode()
    def score_ids(self, texts: Sequence[Sequence[int]]) -> PrefixRewards:
        """The rewards of every prefix of tokenized texts, in one forward, after the head's link.

        Raises:
            NonFiniteReward: a reward is NaN or infinite.
        """
        batch = PromptBatch.pad(texts, self.base.pad_token_id, self.base.device)
        scored = self.network(batch.ids, batch.mask)
        scored = scored._replace(values=self.network.head.link(scored.values))
        check_finite(self, scored.values[scored.known], batch.ids[scored.known], self.base.codec)
        return scored

    @checked
    def score_prefixes(self, texts: str | Sequence[str]) -> list[Float[Tensor, "tokens attributes"]]:
        """The rewards of every prefix of each text; NaN at a first token that the head cannot score.

        The answers of a head of differences are summed. The sum is the reward of the prefix plus a constant.

        Raises:
            InvalidPrompt: there are no texts, or one is empty or longer than the context.
            NonFiniteReward: a reward is NaN or infinite.
        """
        ids = [self.encode(text) for text in ([texts] if isinstance(texts, str) else texts)]
        if not ids:
            raise InvalidPrompt("got no texts to score, expected at least one")
        return self.score_prefixes_of_ids(ids)

    def score_prefixes_of_ids(self, texts: Sequence[Sequence[int]]) -> list[Float[Tensor, "tokens attributes"]]:
        """As `score_prefixes`, of tokenized texts, such as conversations in a chat template.

        Raises:
            NonFiniteReward: a reward is NaN or infinite.
        """
        scored = self.score_ids(texts)
        values = scored.values
        if not self.card.baseline:
            values = values.masked_fill(~scored.known[..., None], 0).cumsum(1)
        values = values.masked_fill(~scored.known[..., None], float("nan"))
        return [row[-len(tokens) :] for row, tokens in zip(values, texts, strict=True)]

    @checked
    def score(self, texts: str | Sequence[str]) -> Float[Tensor, "texts attributes"]:
        """The rewards of whole texts, unclamped; one row for a single text.

        Raises:
            InvalidPrompt: a text is one token, of which the head knows no reward; or as in `score_prefixes`.
            NonFiniteReward: as in `score_prefixes`.
        """
        found = torch.stack([prefixes[-1] for prefixes in self.score_prefixes(texts)])
        for text, is_unknown in zip([texts] if isinstance(texts, str) else texts, found.isnan().all(1), strict=True):
            if is_unknown:
                raise InvalidPrompt(
                    f"got {shown(text)}, one token, expected two or more: this reward knows no first token"
                )
        return found

    @checked
    def shares(self, texts: str | Sequence[str]) -> Float[Tensor, "texts attributes"]:
        """The calibrated rewards of whole texts, in [0, 1]: of texts with ½, half have the label.

        A reward without a calibration in its card returns its clamped rewards. Errors as in `score_prefixes`.
        """
        return shares(self.score(texts), self.card)

    @checked
    def save_pretrained(self, folder: str | Path, dtype: torch.dtype | None = None) -> None:
        """Write the card, a README and the reward's own weights; the base's weights are not copied.

        Args:
            folder: a new or empty folder, or an older reward's, which is replaced. An interrupted save leaves the
                older reward whole.
            dtype: round the weights to this dtype; default: no rounding.

        Raises:
            InvalidSetting: the folder holds other files.
            InvalidOutput: the folder cannot be written.
            TrainingDiverged: a weight is not finite, or not within the range of `dtype`.
        """
        tensors = reward_tensors(self.network, self.card.trunk)
        rounded = {
            name: (weight.to(dtype) if dtype and weight.is_floating_point() else weight).contiguous()
            for name, weight in tensors.items()
        }
        card = replace(self.card, base_weights_fingerprint=self.base.base_weights_fingerprint)
        write_reward(Path(folder), card, rounded)

    @checked
    def push_to_hub(self, repo_id: str, private: bool = False, license: str | None = None) -> str:
        """Save to a model repository on the Hub; returns its address. Arguments and errors as in `push_reward`."""
        with TemporaryDirectory() as parent:
            folder = Path(parent) / "reward"
            self.save_pretrained(folder)
            return push_reward(folder, repo_id, private, license)

    @classmethod
    @checked
    def from_folder(
        cls,
        folder: str | Path,
        load_base: Callable[[str], FrozenLM],
        lm: FrozenLM | None = None,
        source: str | None = None,
        merge_adapters: bool | None = None,
    ) -> "RewardModel":
        """Read a folder written by `save_pretrained`.

        Args:
            folder: the folder.
            load_base: loads a base by the name in the card; called only if `lm` is not that base.
            lm: the language model to be steered.
            source: the name by which the reward was found; default: the folder.
            merge_adapters: as the class takes it.

        Raises:
            CorruptReward: a file is missing, damaged, or holds other tensors than the card describes.
            RewardMismatch: `lm` has another tokenizer, the loaded base has other weights, or the card does not say
                where the base is.
            ModelNotFound: there is no such base.
        """
        folder = Path(folder)
        card = read_card(folder)
        card = replace(card, base=find_base(card.base, folder))
        tensors = read_weights(folder / WEIGHTS_FILE, card.weights_sha256)
        if missing := card.missing_hashes:
            lacks = " and no ".join(HASHES[name] for name in missing)
            warn_caller(f"the card of {folder.name!r} has no {lacks}; save the reward again to get it", UncheckedReward)
        if lm is not None:
            card.check_tokenizer(source or str(folder), lm.codec.fingerprint, lm.name)
        shares = lm is not None and card.is_base(lm.base_fingerprint, lm.base_weights_fingerprint)
        base = lm if lm is not None and shares else _load_named(load_base, earlier_place(card.base), folder.name)
        card.check_base(folder.name, base.name, base.base_fingerprint, base.base_weights_fingerprint)
        try:
            network = build_network(base, card)
        except InvalidSetting as error:
            raise CorruptReward(f"the card of {folder.name!r} does not fit its base: {error}") from error
        put_own_tensors(network, card.trunk, tensors, folder / WEIGHTS_FILE)
        return cls(
            network, card, base, called(folder, source), source or str(folder), fingerprint_of(tensors), merge_adapters
        )


def _load_named(load_base: Callable[[str], FrozenLM], base: str, reward: str) -> FrozenLM:
    """The base of a reward. An error of its name says which reward asks for it."""
    check_located(base, reward)
    try:
        return load_base(base)
    except ModelNotFound as error:
        raise ModelNotFound(f"the reward {shown(reward)} needs its base: {error}") from error


def called(folder: Path, source: str | None) -> str:
    """The name of a reward in traces and messages: that of its folder, or of what was found by `source`.

    The cache of the Hub names folders by commits, so a reward in it is called after its repository.
    """
    if source is None or Path(source).is_dir():
        return folder.name
    return PurePath(source).name
