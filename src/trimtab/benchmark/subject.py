"""The model that is measured, and the base of the rewards that run beside it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, final

import torch
from transformers import AutoConfig, GenerationConfig, PreTrainedModel

from trimtab.benchmark.bench_settings import MOST
from trimtab.benchmark.shapes import Shapes, find_shapes, random_lm
from trimtab.checking import shown
from trimtab.engines.proposer import Proposer
from trimtab.engines.torch.drafting import draft_proposers
from trimtab.engines.torch.running_batch import PROPOSERS
from trimtab.errors import InvalidSetting
from trimtab.models.codec import TokenizerCodec
from trimtab.models.dtypes import Dtype, torch_dtype
from trimtab.models.frozen_lm import FrozenLM
from trimtab.models.layers import find_layers
from trimtab.models.loading import check_device, faults_of, find_model, load_frozen_lm, quiet_transformers
from trimtab.models.quicken import unquickened


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

    @cached_property
    def proposers(self) -> Mapping[str, Proposer]:
        """What can draft for the model: copying, and the draft head that ships for it, if there is one."""
        return {**PROPOSERS, **draft_proposers(self.lm)}

    @cached_property
    def as_transformers_loads_it(self) -> PreTrainedModel:
        """The model with torch's own linear maps; it shares all tensors with `lm`."""
        return unquickened(self.lm.model)

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
        InvalidSetting: there are no such shapes, or torch cannot use the device.
    """
    if spec.shapes is None:
        lm = endless(load_frozen_lm(spec.model, spec.device, torch_dtype(spec.dtype)))
        return Subject(lm, lm, layers or max(1, 2 * lm.layers // 3))
    shapes, dtype = find_shapes(spec.shapes), torch_dtype(spec.dtype)
    device = check_device(spec.device, dtype)
    lm = endless(random_lm(shapes.lm, spec.shapes, device, dtype))
    base = random_lm(shapes.reward, f"{spec.shapes}, rewards", device, dtype)
    return Subject(lm, base, layers or base.layers)


def endless(lm: FrozenLM) -> FrozenLM:
    """The same model without EOS, here and in transformers: every text then has the same number of tokens."""
    lm.model.generation_config = GenerationConfig(pad_token_id=lm.pad_token_id)
    lm.codec = TokenizerCodec(lm.tokenizer, lm.name, lm.context_length, (), lm.vocabulary_size)
    return lm


def configs_of(spec: SubjectSpec) -> Shapes:
    """The configs of the model and of the base of its rewards, without weights.

    Raises:
        ModelNotFound: nothing of that name can be loaded.
        InvalidSetting: there are no such shapes.
    """
    if spec.shapes is not None:
        return find_shapes(spec.shapes)
    with quiet_transformers(), faults_of(spec.model):
        folder = find_model(spec.model, weights=False)
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False).get_text_config()
    return Shapes(config, config)


def check_fits(spec: SubjectSpec, prompt_tokens: int, tokens: int, top_k: int, layers: int | None) -> None:
    """Check that texts fit the contexts of the model and of its rewards, k the vocabulary, and layers the base.

    It needs the configs only.

    Raises:
        ModelNotFound: nothing of that name can be loaded.
        InvalidSetting: something does not fit.
    """
    configs, name = configs_of(spec), spec.shapes or spec.model
    lengths = [getattr(config, "max_position_embeddings", None) for config in configs]
    room = min((length for length in lengths if length), default=MOST["prompt_tokens"]) - 1  # of a reward, for its BOS
    if prompt_tokens + tokens > room:
        raise InvalidSetting(
            f"got prompts of {prompt_tokens} tokens and texts of {tokens}, expected at most {room} together: the "
            f"context of {shown(name)}"
        )
    if top_k > configs.lm.vocab_size:
        raise InvalidSetting(f"got top_k={top_k}, expected at most the vocabulary size, {configs.lm.vocab_size}")
    if layers is not None and layers > configs.reward.num_hidden_layers:
        raise InvalidSetting(
            f"got layers={layers}, expected at most the {configs.reward.num_hidden_layers} of {shown(name)}"
        )


def random_prompts(lm: FrozenLM, rows: int, tokens: int, seed: int) -> list[list[int]]:
    """Prompts of random tokens, all different, so that rows share nothing."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(lm.vocabulary_size, (rows, tokens), generator=generator).tolist()
