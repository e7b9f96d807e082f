"""A frozen causal language model and its tokenizer, as one immutable object."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from trimtab.errors import InvalidPrompt, InvalidSetting, UnsupportedModel
from trimtab.frozen.anatomy import find_final_norm, find_layers

REWINDABLE_ATTENTION = {"full_attention", "sliding_attention"}
FINGERPRINT_ROWS = 64


@dataclass(frozen=True)
class PromptBatch:
    """Tokenized prompts, padded on the left.

    Attributes:
        ids: token ids.
        mask: True where `ids` holds a token of the prompt, False where it holds padding.
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
        name: what `trimtab.load` was asked for; reward cards record it as their base.

    Raises:
        UnsupportedModel: the model keeps a state that cannot be rewound (recurrent layers, chunked attention,
            an encoder).
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, name: str):
        check_rewindable(model)
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.name = name

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {self.model.dtype}, {self.device})"

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.device

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
        """The rows of the language-model head, [vocabulary, hidden]; a padded vocabulary has more rows than tokens."""
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
        """What fills the left of a batch; masked everywhere, so any id will do."""
        choices = (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id, 0)
        return next(int(token) for token in choices if token is not None)

    @property
    def bos_token_id(self) -> int | None:
        """The token that opens a text for a reward model: BOS, or EOS in a tokenizer that has no BOS."""
        first = self.tokenizer.bos_token_id
        return self.tokenizer.eos_token_id if first is None else first

    @cached_property
    def prepends_bos(self) -> bool:
        """Whether the tokenizer itself puts BOS before a text."""
        return bool(self.tokenizer("a")["input_ids"][0] == self.bos_token_id)

    @cached_property
    def eos_token_ids(self) -> frozenset[int]:
        """Every token that ends a text: the generation config's and the tokenizer's."""
        configured = self.model.generation_config.eos_token_id if self.model.generation_config else None
        ids = configured if isinstance(configured, list) else [configured]
        return frozenset(i for i in [*ids, self.tokenizer.eos_token_id] if i is not None)

    @cached_property
    def tokenizer_fingerprint(self) -> str:
        """A hash of the vocabulary: equal for two tokenizers whose ids mean the same tokens."""
        vocabulary = sorted(self.tokenizer.get_vocab().items(), key=lambda item: item[1])
        return hashlib.sha256(json.dumps(vocabulary).encode()).hexdigest()[:16]

    @cached_property
    def base_fingerprint(self) -> str:
        """A hash of the architecture and a sample of the weights, the same in every dtype of at least bfloat16."""
        shapes = [(name, list(weight.shape)) for name, weight in self.model.named_parameters()]
        digest = hashlib.sha256(json.dumps(shapes).encode())
        samples: list[Tensor] = [self.output_embedding[:FINGERPRINT_ROWS], *self.final_norm.parameters()]
        for weight in samples:
            digest.update(weight.detach().cpu().to(torch.bfloat16).view(torch.int16).numpy().tobytes())
        return digest.hexdigest()[:16]

    def encode(self, prompt: str, chat: bool = False) -> list[int]:
        """Token ids of a prompt.

        Args:
            prompt: plain text; with `chat`, what the user says.
            chat: wrap the prompt in the tokenizer's chat template and open the assistant's turn.

        Raises:
            InvalidPrompt: the prompt is empty, or leaves no room in the context.
            InvalidSetting: `chat` with a tokenizer that has no chat template.
        """
        if not prompt:
            raise InvalidPrompt("got an empty prompt, expected at least one token of text to continue")
        check_text(prompt)
        ids = self._encode_chat(prompt) if chat else list(self.tokenizer(prompt)["input_ids"])
        if len(ids) >= self.context_length:
            raise InvalidPrompt(
                f"got a prompt of {len(ids)} tokens, expected fewer than the context of {self.context_length}; "
                f"shorten the one that starts {prompt[:40]!r}"
            )
        return ids

    def _encode_chat(self, prompt: str) -> list[int]:
        if not self.tokenizer.chat_template:
            raise InvalidSetting(f"got chat=True, but {self.name} has no chat template; leave it out")
        turns = [{"role": "user", "content": prompt}]
        text = self.tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def batch(self, prompts: Sequence[Sequence[int]]) -> PromptBatch:
        """Left-padded token ids of several prompts, on the model's device."""
        return PromptBatch.pad(prompts, self.pad_token_id, self.device)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, special tokens left out."""
        return str(self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))


def check_text(text: str) -> None:
    """Refuse what is not text: half a surrogate pair has no encoding.

    Raises:
        InvalidPrompt: it cannot be encoded.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidPrompt(f"got {text[:40]!r}, expected text that has a UTF-8 encoding ({error.reason})") from error


def check_rewindable(model: PreTrainedModel) -> None:
    """Refuse, before any work is done, an architecture whose cache cannot be cropped and re-ordered."""
    config: Any = model.config
    if config.is_encoder_decoder:
        raise UnsupportedModel(
            f"got {type(model).__name__}, an encoder-decoder; expected a decoder-only language model"
        )
    kinds = set(getattr(config, "layer_types", None) or ()) - REWINDABLE_ATTENTION
    if kinds or getattr(model, "_is_stateful", False):
        found = ", ".join(sorted(kinds)) or "a recurrent state"
        raise UnsupportedModel(
            f"got {type(model).__name__} with {found}; expected only {', '.join(sorted(REWINDABLE_ATTENTION))}, "
            "because a state that cannot be cropped cannot be steered back"
        )
