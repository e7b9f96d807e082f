"""The model that is measured, and the base of the rewards that run beside it."""

from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from transformers import GenerationConfig

from trimtab.benchmark.shapes import find_shapes, random_lm
from trimtab.errors import InvalidSetting
from trimtab.models.codec import TokenizerCodec
from trimtab.models.dtypes import Dtype, torch_dtype
from trimtab.models.frozen_lm import FrozenLM
from trimtab.models.layers import find_layers
from trimtab.models.loading import check_device, load_frozen_lm


class SubjectSpec(NamedTuple):
    """How to load a subject.

    Attributes:
        model: a name, as `trimtab.load` takes it.
        shapes: random weights of these shapes instead; None for the model.
        dtype, device: number format and device; "auto" and None for the loader's choice.
    """

    model: str
    shapes: str | None = None
    dtype: Dtype = "auto"
    device: str | None = None


@final
@dataclass(frozen=True)
class Subject:
    """A language model that never ends a text, and the base of its rewards.

    Attributes:
        lm: the model.
        base: the model whose layers are the trunks of ARM and RAD: `lm` itself, or a smaller one.
        layers: how many of the layers of `base` a trunk has.
    """

    lm: FrozenLM
    base: FrozenLM
    layers: int

    @property
    def weights_read(self) -> int:
        """The parameters that a token reads: the layers, the final norm and the language-model head."""
        body = sum(weight.numel() for weight in find_layers(self.lm.body).parameters())
        norm = sum(weight.numel() for weight in self.lm.final_norm.parameters())
        return body + norm + self.lm.output_embedding.numel()

    @property
    def trunk_weights(self) -> int:
        """The parameters of the layers of a trunk, adapters not counted."""
        layers = find_layers(self.base.body)[: self.layers]
        return sum(weight.numel() for weight in layers.parameters())


def load_subject(spec: SubjectSpec, layers: int | None = None) -> Subject:
    """Load a subject, or make it with random weights.

    Args:
        spec: what to load.
        layers: layers of a trunk; default: two thirds of the model's, or all layers of a smaller base.

    Raises:
        ModelNotFound: nothing of that name can be loaded.
        InvalidSetting: there are no such shapes, more layers than the base has, or torch cannot use the device.
    """
    if spec.shapes is None:
        lm = endless(load_frozen_lm(spec.model, spec.device, torch_dtype(spec.dtype)))
        return Subject(lm, lm, check_layers(layers or max(1, 2 * lm.layers // 3), lm))
    shapes, dtype = find_shapes(spec.shapes), torch_dtype(spec.dtype)
    device = check_device(spec.device, dtype)
    lm = endless(random_lm(shapes.lm, spec.shapes, device, dtype))
    base = random_lm(shapes.reward, f"{spec.shapes}, rewards", device, dtype)
    return Subject(lm, base, check_layers(layers or base.layers, base))


def endless(lm: FrozenLM) -> FrozenLM:
    """The same model without EOS, here and in transformers: every text then has the same number of tokens."""
    lm.model.generation_config = GenerationConfig(pad_token_id=lm.pad_token_id)
    lm.codec = TokenizerCodec(lm.tokenizer, lm.name, lm.context_length, (), lm.vocabulary_size)
    return lm


def check_layers(layers: int, base: FrozenLM) -> int:
    """The number of layers, if the base has as many.

    Raises:
        InvalidSetting: it has fewer.
    """
    if layers > base.layers:
        raise InvalidSetting(f"got layers={layers}, expected at most the {base.layers} of {base.name}")
    return layers


def check_context(subject: Subject, prompt_tokens: int, tokens: int, top_k: int) -> None:
    """Check that texts fit the contexts of the model and of its rewards, and k the vocabulary.

    Raises:
        InvalidSetting: they do not.
    """
    room = min(subject.lm.context_length, subject.base.context_length - 1)  # a reward puts BOS before a text
    if prompt_tokens + tokens > room:
        raise InvalidSetting(
            f"got prompts of {prompt_tokens} tokens and texts of {tokens}, expected at most {room} together: the "
            f"context of {subject.lm.name}"
        )
    if top_k > subject.lm.vocabulary_size:
        raise InvalidSetting(f"got top_k={top_k}, expected at most the vocabulary size, {subject.lm.vocabulary_size}")


def random_prompts(lm: FrozenLM, rows: int, tokens: int, seed: int) -> list[list[int]]:
    """Prompts of random tokens, all different, so that rows share nothing."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(lm.vocabulary_size, (rows, tokens), generator=generator).tolist()
