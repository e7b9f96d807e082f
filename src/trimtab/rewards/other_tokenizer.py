"""What to do with a reward of another tokenizer: the commands, as users paste them. No torch here."""

import shlex

from trimtab.data.visible import legible
from trimtab.rewards.card import RewardCard
from trimtab.rewards.heads import head_kind
from trimtab.rewards.registry import teaching_reward
from trimtab.steering.notation import usual_steer

RETOKENIZE = (
    "Let rewards of another tokenizer score: texts are decoded and encoded again at every token. Slow: 2 to 3 times "
    "the time of a plain token, or more; trimtab adapt makes a fast reward."
)


def advice(name: str, card: RewardCard, model: str) -> str:
    """How to steer a language model whose tokenizer is not the reward's, with the commands.

    A reward that scores tokens, and has no bundled twin that scores texts, cannot be used at once.

    Args:
        name: what loads the reward.
        card: its card.
        model: what loads the language model.
    """
    ready = f"what is ready for that model: {_pasted('trimtab', 'rewards', 'list', '--model', model)}"
    if teaching_reward(name) == name and not head_kind(card.head).scores_texts:
        adapt = _pasted("trimtab", "adapt", "toxicity", "--model", model)
        return f"{ready}; or make one for it: {adapt} (toxicity, sentiment, or another with a V-head)"
    adapt = _pasted("trimtab", "adapt", name, "--model", model)
    steer = usual_steer(name, card.attributes)
    at_once = _pasted("trimtab", "generate", "I think that", "--model", model, "--steer", steer, "--retokenize")
    return f"{ready}; or make one for it, in minutes: {adapt}; or use it at once, slowly: {at_once}"


def _pasted(*words: str) -> str:
    return legible(shlex.join(words), keep="")
