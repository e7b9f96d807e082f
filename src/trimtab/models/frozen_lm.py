"""A frozen causal language model and its tokenizer: one immutable object that all threads share."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from threading import RLock
from typing import final

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from trimtab.data.json_text import dump_json, parse_json
from trimtab.errors import UnsupportedModel
from trimtab.models.architecture import check_architecture
from trimtab.models.codec import TokenizerCodec
from trimtab.models.fingerprints import exact_fingerprint, rounded_fingerprint, sample_fingerprint
from trimtab.models.layers import find_final_norm, find_layers
from trimtab.models.text_fingerprint import text_fingerprint

FINGERPRINT_ROWS = 64
NO_SETTINGS = {"_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version"}  # of a config
NOISE = 1e-3  # of the largest logit: more than kernels and experts differ by in float32, less than attention does
PROBE = ((1, 2, 3, 4), (1, 5, 6, 7))  # two texts with the same first token


@dataclass(frozen=True)
class PromptBatch:
    """Tokenized prompts, padded on the left.

    Attributes:
        ids: token ids.
        mask: False where `ids` is padding.
    """

    ids: Int[Tensor, "rows slots"]
    mask: Bool[Tensor, "rows slots"]

    @classmethod
    def pad(cls, prompts: Sequence[Sequence[int]], pad_token_id: int, device: torch.device) -> "PromptBatch":
        """Left-pad lists of token ids into one batch."""
        width = max(map(len, prompts))
        ids = [[pad_token_id] * (width - len(prompt)) + list(prompt) for prompt in prompts]
        mask = [[False] * (width - len(prompt)) + [True] * len(prompt) for prompt in prompts]
        return cls(torch.tensor(ids, device=device), torch.tensor(mask, device=device))


@final
class FrozenLM:
    """A causal language model whose weights never change, with its tokenizer.

    Args:
        model: a decoder-only `transformers` model; put into eval mode, its parameters stop requiring gradients.
        tokenizer: its tokenizer.
        name: the name that `trimtab.load` was given; reward cards record it as their base.

    Attributes:
        lock: held for each step of a decode loop, so that threads take turns.

    Raises:
        UnsupportedModel: the model keeps a state that cannot be rewound (recurrent layers, chunked attention,
            an encoder).
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, name: str):
        check_rewindable(model)
        self.model = model.eval().requires_grad_(False)
        check_causal(self.model)
        self.tokenizer = tokenizer
        self.name = name
        self.lock = RLock()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {self.model.dtype}, {self.device})"

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.model.device

    @property
    def dtype(self) -> str:
        """The number format of the weights, such as "float32"."""
        return str(self.model.dtype).removeprefix("torch.")

    @property
    def body(self) -> PreTrainedModel:
        """The transformer without its language-model head."""
        return self.model.base_model

    @property
    def layers(self) -> int:
        """The number of transformer layers."""
        return len(find_layers(self.body))

    @property
    def final_norm(self) -> nn.Module:
        """The norm between the last layer and the language-model head."""
        return find_final_norm(self.body)

    @property
    def output_embedding(self) -> Tensor:
        """The rows of the language-model head, [vocabulary, hidden]; a padded vocabulary has spare rows."""
        return self.model.get_output_embeddings().weight

    @property
    def vocabulary_size(self) -> int:
        """How many logits the model returns."""
        return self.output_embedding.shape[0]

    @property
    def context_length(self) -> int:
        """The longest sequence that the model's positions allow, in tokens."""
        return int(self.model.config.max_position_embeddings)

    @property
    def pad_token_id(self) -> int:
        """The id that pads a batch on the left; it is masked everywhere, so any id will do."""
        choices = (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id, 0)
        return next(int(token) for token in choices if token is not None)

    @property
    def bos_token_id(self) -> int | None:
        """The token that opens a text for a reward model: BOS, or EOS if the tokenizer has no BOS."""
        return self.codec.bos_token_id

    @cached_property
    def prepends_bos(self) -> bool:
        """Whether the tokenizer puts BOS before a text."""
        return bool(self.tokenizer("a")["input_ids"][0] == self.bos_token_id)

    @cached_property
    def codec(self) -> TokenizerCodec:
        """Encodes prompts and decodes tokens. EOS is every id that the generation config or the tokenizer names."""
        configured = self.model.generation_config.eos_token_id if self.model.generation_config else None
        ids = configured if isinstance(configured, list) else [configured]
        eos = [token for token in [*ids, self.tokenizer.eos_token_id] if token is not None]
        return TokenizerCodec(self.tokenizer, self.name, self.context_length, eos, self.vocabulary_size)

    @cached_property
    def base_fingerprint(self) -> str:
        """A hash of the architecture and of the first output embeddings; equal in float32 and bfloat16.

        A fine-tuned model may have it too: see `base_weights_fingerprint`.
        """
        return rounded_fingerprint(
            self._weights, [self.output_embedding[:FINGERPRINT_ROWS], *self.final_norm.parameters()]
        )

    @cached_property
    def base_weights_fingerprint(self) -> str:
        """A hash of the architecture and of a sample of every weight; equal in float32 and bfloat16.

        Cards of rewards record it: it tells a fine-tuned model from its base, and takes milliseconds.
        """
        return sample_fingerprint(self._weights)

    @cached_property
    def weights_fingerprint(self) -> str:
        """A hash of every weight, in the dtype in which it is loaded: what exactly a text was written by."""
        return exact_fingerprint(self._weights)

    @cached_property
    def config_fingerprint(self) -> str:
        """A hash of the settings of the architecture, such as the epsilon of its norms; not of names and dtypes."""
        settings = parse_json(self.model.config.to_json_string(use_diff=True))
        kept = {name: settings[name] for name in sorted(settings) if name not in NO_SETTINGS}
        return text_fingerprint(dump_json(kept, ascii_only=True))

    @property
    def _weights(self) -> dict[str, Tensor]:
        return dict(self.model.named_parameters())

    def batch(self, prompts: Sequence[Sequence[int]]) -> PromptBatch:
        """Left-padded token ids of several prompts, on the model's device."""
        return PromptBatch.pad(prompts, self.pad_token_id, self.device)


def check_rewindable(model: PreTrainedModel) -> None:
    """Refuse a model whose KV cache cannot be cropped and re-ordered, or that has no language-model head."""
    check_architecture(type(model), model.config)
    if model.get_output_embeddings() is None:
        raise UnsupportedModel(f"got {type(model).__name__}, expected a model with a language-model head")


@torch.inference_mode()
def check_causal(model: PreTrainedModel) -> None:
    """Check that a model reads from left to right, by one forward call of two texts that start with the same token.

    Raises:
        UnsupportedModel: the first token's logits differ, as in an encoder, or a logit is NaN or infinite.
    """
    rows = model.get_input_embeddings().weight.shape[0]
    ids = torch.tensor(PROBE, device=model.device) % rows
    logits = model(input_ids=ids, use_cache=False).logits.float()
    if not bool(logits.amax(-1).isfinite().all()):  # −inf is for tokens that the model never writes
        raise UnsupportedModel(
            f"got {type(model).__name__}, whose logits are NaN or infinite, expected finite numbers; load it in "
            "float32, or fetch it again"
        )
    first = logits[:, 0].masked_fill(logits[:, 0].isneginf(), 0)
    tolerance = max(NOISE, 8 * torch.finfo(model.dtype).eps) * first.abs().max()
    if bool((first[0] - first[1]).abs().max() > tolerance):
        raise UnsupportedModel(
            f"got {type(model).__name__}, whose logits depend on later tokens; expected a decoder, which reads from "
            "left to right (an encoder such as BERT cannot write)"
        )
