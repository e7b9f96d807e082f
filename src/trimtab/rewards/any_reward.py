"""What `trimtab.reward` may load: every kind of reward that the package has."""

from trimtab.errors import InvalidSetting
from trimtab.rewards.card import RewardCard
from trimtab.rewards.experts import Experts
from trimtab.rewards.heads import head_kind
from trimtab.rewards.retokenized import RetokenizedReward
from trimtab.rewards.reward_model import RewardModel
from trimtab.steering.reward import Reward

AnyReward = RewardModel | RetokenizedReward | Experts


def check_scores_whole_texts(reward: Reward) -> None:
    """Check that a reward's last answer is that of a whole text, so that texts can be ranked by it.

    Raises:
        InvalidSetting: it scores one token at a time, as language models, datastores and differences do.
    """
    if isinstance(reward, RewardModel | Experts):
        check_scores_whole_card(reward.name, reward.card if isinstance(reward, RewardModel) else None)


def check_scores_whole_card(name: str, card: RewardCard | None) -> None:
    """Check by a reward's card what `check_scores_whole_texts` checks; None for experts. Errors as there."""
    if card is None or not card.baseline or not head_kind(card.head).scores_prefixes:
        raise InvalidSetting(
            f"got {name!r} to rank texts by, which scores one token at a time; expected a reward of whole texts, such "
            "as toxicity"
        )


def kind_of(reward: AnyReward) -> str:
    """The head of a reward in records; "experts" for language models."""
    return "experts" if isinstance(reward, Experts) else reward.card.head


def check_attribute(reward: AnyReward, attribute: str | None) -> None:
    """Check the name of an attribute; None for the first.

    Raises:
        UnknownAttribute, InvalidSetting: the reward has no such attribute.
    """
    if not isinstance(reward, Experts):
        reward.card.attribute_index(attribute)
