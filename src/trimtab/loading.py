"""The public face: load a language model, a reward for it, or experts."""

import os
from collections.abc import Mapping
from typing import Literal, overload

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from trimtab.checking import checked_except, shown
from trimtab.engines.engine_names import EngineName, check_engine
from trimtab.engines.torch.drafting import draft_proposers
from trimtab.engines.torch.engine import TorchEngine
from trimtab.errors import InvalidSetting, WrongType
from trimtab.language_model import LanguageModel
from trimtab.models.chat_template import TemplateOption
from trimtab.models.dtypes import Dtype, torch_dtype
from trimtab.models.frozen_lm import FrozenLM
from trimtab.models.loading import load_frozen_lm
from trimtab.rewards.any_reward import AnyReward
from trimtab.rewards.experts import Expert, Experts
from trimtab.rewards.load_experts import load_expert
from trimtab.rewards.registry import load_any
from trimtab.rewards.reward_model import RewardModel


@checked_except("draft")
def load(
    name: str | os.PathLike[str] = "smollm2",
    device: str | torch.device | None = None,
    dtype: torch.dtype | Dtype | None = None,
    batch_invariant: bool = False,
    chat_template_kwargs: Mapping[str, TemplateOption] | None = None,
    engine: EngineName = "torch",
    engine_options: Mapping[str, object] | None = None,
    draft: str | os.PathLike[str] | LanguageModel | None = None,
) -> LanguageModel:
    """Load a language model.

    Args:
        name: "smollm2" (SmolLM2-135M-Instruct), a local folder, a .gguf file, or a Hub id.
        device: a torch device; default: the GPU if there is one, else the CPU.
        dtype: a torch dtype or its name; default: float32 on a CPU, else the dtype of the saved weights.
        batch_invariant: write each row alone, so that in bfloat16, too, no text depends on its batch. Slower: see Speed
            in the docs.
        chat_template_kwargs: variables of the model's chat template, for every conversation, such as
            `{"enable_thinking": False}`.
        engine: "torch", or "vllm" for many texts at once: see vLLM in the docs for what it can do.
        engine_options: of vLLM, such as `{"max_model_len": 2048}`; see `VllmEngine`.
        draft: what drafts tokens where `speculate="draft"`: the folder of a draft head (`trimtab train draft`), or
            another language model of the same tokenizer, loaded or by name. Default: the draft head that ships for the
            model, if there is one.

    Raises:
        ModelNotFound: nothing of that name can be loaded.
        UnsupportedModel: it cannot be steered: an encoder, a state that cannot be rewound, no language-model head; or
            vLLM cannot run it.
        InvalidSetting: torch cannot use the device, the chat template has no such variable, or the engine is not
            installed or lacks a setting.
        CorruptReward, RewardMismatch: the draft head is damaged, or of another model.
    """
    check_engine(engine, batch_invariant)
    if draft is not None and engine != "torch":
        raise InvalidSetting(f"got draft= with engine={engine!r}, expected engine='torch', which can check drafts")
    if engine_options and engine != "vllm":
        raise InvalidSetting(f"got engine_options with engine={engine!r}, expected engine='vllm'")
    wanted = torch_dtype(dtype) if isinstance(dtype, str) else dtype
    base = load_frozen_lm(os.fspath(name), device, wanted, chat_template_kwargs=chat_template_kwargs)
    return on_engine(base, engine, engine_options, batch_invariant, draft)


def on_engine(
    base: FrozenLM,
    engine: EngineName = "torch",
    engine_options: Mapping[str, object] | None = None,
    batch_invariant: bool = False,
    draft: str | os.PathLike[str] | LanguageModel | None = None,
) -> LanguageModel:
    """A frozen model on an engine. The arguments after the first, and the errors, are those of `load`."""
    if engine == "vllm":
        from trimtab.engines.vllm.engine import VllmEngine

        return LanguageModel(VllmEngine(base, engine_options or {}))
    return _on_torch(base, batch_invariant, draft)


@checked_except("model", "draft")
def from_transformers(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    name: str | None = None,
    batch_invariant: bool = False,
    chat_template_kwargs: Mapping[str, TemplateOption] | None = None,
    draft: str | os.PathLike[str] | LanguageModel | None = None,
) -> LanguageModel:
    """Steer a model that is already loaded.

    Args:
        model: a decoder-only transformers model, also on a `device_map`, quantized, or under `torch.compile`, of which
            the uncompiled module runs. It is put into eval mode, and its weights stop requiring gradients.
        tokenizer: its tokenizer.
        name: recorded as the base of rewards that are trained on it; default: the name it was loaded by.
        batch_invariant, chat_template_kwargs, draft: as in `load`.

    Raises:
        UnsupportedModel: it cannot be steered: an encoder, a state that cannot be rewound, no language-model head.
        InvalidSetting: the chat template has no such variable.
        CorruptReward, RewardMismatch: the draft head is damaged, or of another model.
    """
    whole = _uncompiled(model)
    base = FrozenLM(whole, tokenizer, name or str(whole.config._name_or_path), chat_template_kwargs)
    return _on_torch(base, batch_invariant, draft)


def _on_torch(base: FrozenLM, batch_invariant: bool, draft: object) -> LanguageModel:
    """A model on the torch engine, with what drafts for it."""
    given = draft.base if isinstance(draft, LanguageModel) else draft
    if not isinstance(given, str | os.PathLike | FrozenLM | None):
        raise WrongType(f"got draft={shown(draft)}, expected a folder, or a language model or its name")
    proposers = draft_proposers(base, given)
    return LanguageModel(TorchEngine(base, batch_invariant=batch_invariant, proposers=proposers))


def _uncompiled(model: object) -> PreTrainedModel:
    """The transformers model, taken out of `torch.compile`: a cache that grows would compile it again and again."""
    whole = getattr(model, "_orig_mod", model)
    if not isinstance(whole, PreTrainedModel):
        raise WrongType(
            f"got model={shown(model)}, expected a transformers model; take it out of other wrappers first, such as "
            "peft's: merge_and_unload()"
        )
    return whole


@overload
def reward(
    name: str | os.PathLike[str],
    lm: LanguageModel | None = None,
    merge_adapters: bool | None = None,
    retokenize: Literal[False] = False,
) -> RewardModel: ...


@overload
def reward(
    name: str | os.PathLike[str],
    lm: LanguageModel | None = None,
    merge_adapters: bool | None = None,
    *,
    retokenize: bool,
) -> AnyReward: ...


@checked_except("lm")
def reward(
    name: str | os.PathLike[str],
    lm: LanguageModel | None = None,
    merge_adapters: bool | None = None,
    retokenize: bool = False,
) -> AnyReward:
    """Load a reward model.

    Args:
        name: a bundled name (`trimtab rewards list`), a folder, or a Hub id.
        lm: the language model to steer; default: the reward's own base, which is loaded.
        merge_adapters: steer by a copy of the trunk's linear maps with its adapters added in. It is faster and takes
            the memory of those maps. Default: if that is at most 4 GiB. See Performance in the docs.
        retokenize: if `lm` has another tokenizer than the reward, decode and encode its texts again at every step, so
            that the reward can score them. It needs a reward with a V-head, and is slow: see Any model in the docs. The
            fast way is to adapt the reward to the model. "toxicity" then means "toxicity-rad", its V-head.

    Raises:
        InvalidSetting: `lm` is no language model; or, with `retokenize`, the reward has no V-head.
        RewardNotFound: nothing of that name.
        RewardMismatch: the reward was made for another tokenizer. The message has the commands that help.
        CorruptReward: the folder is damaged.
    """
    if not isinstance(lm, LanguageModel | None):
        raise WrongType(f"got lm={shown(lm)}, expected the language model to steer: trimtab.load(…)")
    return load_any(os.fspath(name), lm.base if lm else None, merge_adapters, retokenize)


@checked_except("expert", "anti", "lm")
def experts(
    expert: LanguageModel | RewardModel | str | os.PathLike[str] | None = None,
    anti: LanguageModel | RewardModel | str | os.PathLike[str] | None = None,
    lm: LanguageModel | None = None,
) -> Experts:
    """Two language models as a reward: r(v) = log p_expert(v) − log p_anti(v) (DExperts, proxy-tuning), or one alone.

    `trimtab.experts("models/kind", "models/toxic", lm).toward(2.0)` steers with α = 2. See `trimtab.rewards.Experts`
    for what an expert or an anti-expert alone means.

    Args:
        expert, anti: a loaded model; what `trimtab.load` takes; the folder of a reward by `trimtab train genarm`; or
            the folder of a LoRA adapter of `lm`, as peft saves it. They have the tokenizer of the model to steer.
        lm: the language model to steer. Models that are loaded get its device and dtype; an adapter shares its weights.

    Raises:
        InvalidSetting: there is neither; a reward has no LM head; or an adapter without `lm`.
        ModelNotFound, UnsupportedModel, CorruptReward: one cannot be loaded.
        RewardMismatch: they have different tokenizers.
    """
    if not isinstance(lm, LanguageModel | None):
        raise WrongType(f"got lm={shown(lm)}, expected the language model to steer: trimtab.load(…)")
    like = None if lm is None else lm.base
    return Experts(_expert(expert, like), _expert(anti, like))


def _expert(given: object, like: FrozenLM | None) -> Expert | None:
    if isinstance(given, LanguageModel):
        return given.base
    if given is None or isinstance(given, RewardModel):
        return given
    if not isinstance(given, str | os.PathLike):
        raise WrongType(f"got the expert {shown(given)}, expected a language model, or its name or folder")
    return load_expert(os.fspath(given), like)
