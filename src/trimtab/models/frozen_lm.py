"""A frozen causal language model and its tokenizer: one immutable object that all threads share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import final

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from trimtab.data.json_text import dump_json, parse_json
from trimtab.models.chat_template import TemplateOption, check_template_options
from trimtab.models.codec import TokenizerCodec
from trimtab.models.context_length import context_length
from trimtab.models.fingerprints import exact_fingerprint, rounded_fingerprint, sample_fingerprint
from trimtab.models.layers import find_decoder, find_final_norm, find_layers
from trimtab.models.quantized import is_quantized, stored_tensors
from trimtab.models.steerable import check_architecture, check_decoding
from trimtab.models.text_fingerprint import text_fingerprint
from trimtab.models.turns import Turns

FINGERPRINT_ROWS = 64
NO_SETTINGS = {"_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version"}  # of a config


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
        return cls(
            torch.tensor(ids, dtype=torch.long, device=device), torch.tensor(mask, dtype=torch.bool, device=device)
        )


@final
class FrozenLM:
    """A causal language model whose weights never change, with its tokenizer.

    Args:
        model: a decoder-only `transformers` model; put into eval mode, its parameters stop requiring gradients.
        tokenizer: its tokenizer.
        name: the name that `trimtab.load` was given; reward cards record it as their base.
        chat_template_kwargs: variables of the chat template, such as `enable_thinking`.

    Attributes:
        lock: held for each step of a decode loop, so that threads take turns.

    Raises:
        UnsupportedModel: the model cannot be steered: an encoder, a state that cannot be rewound, no language-model
            head.
        InvalidSetting: the chat template has no such variable.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        name: str,
        chat_template_kwargs: Mapping[str, TemplateOption] | None = None,
    ):
        check_template_options(tokenizer, chat_template_kwargs or {}, name)
        check_architecture(model)
        self.model = model.eval().requires_grad_(False)
        check_decoding(self.model)
        self.tokenizer = tokenizer
        self.name = name
        self._chat_template_kwargs = dict(chat_template_kwargs or {})
        self.lock = Turns()

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
        """The text decoder without its language-model head."""
        return find_decoder(self.model)

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
    def logit_scale(self) -> float:
        """What the model multiplies the product of state and output embedding by; 1 for most models."""
        config = self.model.config.get_text_config()
        scaling = float(getattr(config, "logits_scaling", None) or 1.0)  # Granite divides by it
        scaling = scaling if config.model_type.startswith("hyperclovax") else 1.0 / scaling
        return scaling * float(getattr(config, "logit_scale", None) or 1.0)  # Cohere

    @property
    def vocabulary_size(self) -> int:
        """How many logits the model returns."""
        return self.output_embedding.shape[0]

    @property
    def context_length(self) -> int:
        """The longest sequence that the model's positions allow, in tokens."""
        return context_length(self.model.config, self.tokenizer)

    @property
    def pad_token_id(self) -> int:
        """The id that pads a batch on the left; it is masked everywhere, so any id that the model has will do."""
        known = self.model.get_input_embeddings().weight.shape[0]
        choices = (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id, 0)
        return next(int(token) for token in choices if token is not None and token < known)

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
        options = self._chat_template_kwargs
        return TokenizerCodec(self.tokenizer, self.name, self.context_length, eos, self.vocabulary_size, options)

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
        return stored_tensors(self.model) if is_quantized(self.model) else dict(self.model.named_parameters())

    def batch(self, prompts: Sequence[Sequence[int]]) -> PromptBatch:
        """Left-padded token ids of several prompts, on the model's device."""
        return PromptBatch.pad(prompts, self.pad_token_id, self.device)
