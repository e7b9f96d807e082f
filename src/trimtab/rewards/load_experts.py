"""Load experts: language models, rewards by `trimtab train genarm`, and LoRA adapters of the steered model."""

from pathlib import Path

from trimtab.checking import shown
from trimtab.errors import InvalidSetting
from trimtab.models.frozen_lm import FrozenLM
from trimtab.models.layers import share_tensors
from trimtab.models.loading import faults_of, load_frozen_lm, quiet_transformers
from trimtab.rewards.expert_names import (
    ADAPTER_FILE,
    check_adapter,
    check_lm_head,
    is_adapter,
    is_reward,
    parse_experts,
)
from trimtab.rewards.experts import Expert, Experts
from trimtab.rewards.registry import load_reward


def load_experts(name: str, lm: FrozenLM | None = None) -> Experts:
    """The reward `experts:EXPERT,ANTI`.

    Args:
        name: the text; see `trimtab.rewards.expert_names.parse_experts`.
        lm: the language model to steer. Experts get its device and dtype; an adapter shares its weights.

    Raises:
        InvalidSetting: the text has another form, or an adapter has no model to sit on.
        ModelNotFound, UnsupportedModel, CorruptReward, RewardMismatch: of an expert.
    """
    names = parse_experts(name)
    loaded = {each: load_expert(each, lm) for each in dict.fromkeys(filter(None, (names.expert, names.anti)))}
    expert, anti = (None if each is None else loaded[each] for each in (names.expert, names.anti))
    return Experts(expert, anti, source=names.text)


def load_expert(name: str, lm: FrozenLM | None = None) -> Expert:
    """One expert. Arguments and errors as in `load_experts`."""
    if is_adapter(name):
        return _with_adapter(name, lm)
    if is_reward(name):
        reward = load_reward(name, lm)
        check_lm_head(name, reward.card.head)
        return reward
    if lm is None:
        return load_frozen_lm(name)
    return lm if name == lm.name else load_frozen_lm(name, str(lm.device), lm.model.dtype)


def _with_adapter(folder: str, lm: FrozenLM | None) -> FrozenLM:
    """The steered model with a LoRA adapter beside its linear maps; all other weights are shared.

    Raises:
        InvalidSetting: there is no steered model, or the adapter has no safe weights, or learns a prompt.
        ModelNotFound: the adapter does not fit the model.
    """
    if lm is None:
        raise InvalidSetting(
            f"got the adapter {shown(folder)} without the model that it adapts, expected lm=, the model to steer; "
            f"{ADAPTER_FILE} marks a folder as an adapter"
        )
    check_adapter(folder)
    from peft import PeftModel  # a third of a second, which unsteered text does not need

    with quiet_transformers(), faults_of(folder):
        adapted = PeftModel.from_pretrained(share_tensors(lm.model), folder, local_files_only=True)
    if adapted.active_peft_config.is_prompt_learning:
        raise InvalidSetting(f"got the adapter {shown(folder)}, which learns a prompt, expected a LoRA adapter")
    return FrozenLM(adapted.get_base_model(), lm.tokenizer, Path(folder).name)
