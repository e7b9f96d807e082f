"""The card of a reward before training, from its base and its recipe."""

from collections.abc import Sequence

from trimtab.models.frozen_lm import FrozenLM
from trimtab.rewards.card import Link, RewardCard
from trimtab.rewards.taps import even_taps
from trimtab.training.recipe import Recipe, check_fits


def new_card(
    base: FrozenLM,
    attributes: Sequence[str],
    recipe: Recipe,
    link: Link = "identity",
    baseline: bool = True,
    clamp: tuple[float, float] | None = (0.0, 1.0),
) -> RewardCard:
    """The card of a reward before training.

    Raises:
        InvalidSetting: the recipe does not fit the base, or the attributes are not different names.
    """
    check_fits(recipe, base.layers, base.output_embedding.shape[1])
    hosted = recipe.trunk in ("frozen", "ladder") and not base.prepends_bos
    layers = base.layers if recipe.layers is None else recipe.layers
    return RewardCard(
        base=base.name,
        base_fingerprint=base.base_fingerprint,
        base_weights_fingerprint=base.base_weights_fingerprint,
        tokenizer_fingerprint=base.codec.fingerprint,
        layers=layers,
        head=recipe.head,
        attributes=tuple(attributes),
        trunk=recipe.trunk,
        rank=recipe.rank,
        baseline=baseline,
        lora_rank=recipe.lora_rank,
        lora_alpha=2 * recipe.lora_rank,
        taps=even_taps(layers, recipe.ladder_layers) if recipe.trunk == "ladder" else (),
        ladder_width=recipe.ladder_width,
        ladder_heads=recipe.ladder_heads,
        link=link,
        clamp=clamp,
        bos_token_id=None if hosted else base.bos_token_id,
    )
