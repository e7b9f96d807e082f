"""A draft head with its card: made for a language model, saved to a folder, loaded from it."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import torch
from jaxtyping import Int
from safetensors import SafetensorError
from torch import Tensor

from trimtab.checking import checked, shown
from trimtab.data.files import shown_path, why_not_written
from trimtab.data.folders import whole_folder
from trimtab.data.outputs import check_folder, write_whole
from trimtab.drafts.card import CARD_FILE, README_FILE, WEIGHTS_FILE, DraftCard, read_draft_card
from trimtab.drafts.head import DraftHead
from trimtab.drafts.readme import draft_readme
from trimtab.errors import CorruptReward, InvalidOutput, InvalidSetting
from trimtab.models.frozen_lm import FrozenLM
from trimtab.models.quicken import quicken
from trimtab.rewards.base_path import recorded_base
from trimtab.rewards.weights import read_weights, save_weights

BUNDLED = Path(__file__).parent / "bundled"


@final
@checked
@dataclass(frozen=True)
class DraftModel:
    """A draft head for one language model.

    Attributes:
        head: the network, on the model's device and in its number format.
        card: what is known of it.
        name: the folder that it was loaded from, or what it was called in training.
    """

    head: DraftHead
    card: DraftCard
    name: str = "draft"

    @classmethod
    def from_folder(cls, folder: str | Path, base: FrozenLM) -> "DraftModel":
        """Load a saved head for its language model.

        Raises:
            CorruptReward: the folder is damaged, or is no draft head's.
            RewardMismatch: it was trained on another model.
        """
        folder = Path(folder)
        card = read_draft_card(folder)
        card.check_base(str(folder), base.name, base.base_weights_fingerprint)
        weights = read_weights(folder / WEIGHTS_FILE, card.weights_sha256)
        head = build_head(base, card, _tokens_of(weights, card, base, folder))
        shapes = {name: weight.shape for name, weight in head.state_dict().items()}
        if shapes != {name: weight.shape for name, weight in weights.items()}:
            raise CorruptReward(f"{shown_path(folder / WEIGHTS_FILE)} does not match its card; fetch or train it again")
        head.load_state_dict(weights)
        return cls(head.to(base.device, base.model.dtype).eval().requires_grad_(False), card, str(folder))

    def save_pretrained(self, folder: str | Path, dtype: torch.dtype = torch.bfloat16) -> None:
        """Save weights and card. An older head in the folder is replaced as a whole.

        Raises:
            InvalidSetting: the folder holds other files.
            InvalidOutput: it cannot be written.
            TrainingDiverged: a weight is not finite.
        """
        path = Path(folder)
        check_draft_target(path)
        tensors = {
            name: (weight.to(dtype) if weight.is_floating_point() else weight).contiguous()
            for name, weight in self.head.state_dict().items()
        }
        try:
            with whole_folder(path, replace=True) as partial:
                found, digest = save_weights(tensors, partial / WEIGHTS_FILE)
                base = recorded_base(self.card.base, path, self.card.base_weights_fingerprint)
                card = replace(self.card, base=base, weights_dtype=found, weights_sha256=digest)
                write_whole(partial / CARD_FILE, card.to_json())
                write_whole(partial / README_FILE, draft_readme(card, path.name))
        except (OSError, SafetensorError) as error:
            raise InvalidOutput(
                f"cannot save the draft head in {shown_path(path)}: {why_not_written(error)}; an older one is kept"
            ) from error


def bundled_draft(base: FrozenLM) -> Path | None:
    """The folder of the draft head in the package that was trained on a model; None if there is none."""
    folders = sorted(path.parent for path in BUNDLED.glob(f"*/{CARD_FILE}"))
    known = {read_draft_card(folder).base_weights_fingerprint: folder for folder in folders}
    return known.get(base.base_weights_fingerprint) if known else None


def build_head(base: FrozenLM, card: DraftCard, tokens: Int[Tensor, " frequent"]) -> DraftHead:
    """A fresh head of the shape that a card describes, in float32.

    Args:
        base: the language model.
        card: the shape.
        tokens: the ids that it drafts.

    Raises:
        InvalidSetting: the card reads deeper than the model has layers.
    """
    if card.taps[-1] > base.layers:
        raise InvalidSetting(f"got taps={shown(card.taps)}, expected depths up to the model's {base.layers} layers")
    embedding = base.model.get_input_embeddings().weight
    frequent = tokens.to(base.device)
    return quicken(DraftHead(embedding, base.output_embedding, frequent, card.taps, card.width, card.heads))


def check_draft_target(folder: Path) -> None:
    """Check that a draft head can be saved in a folder, and that nothing but one would be replaced.

    Raises:
        InvalidSetting: the folder holds other files.
        InvalidOutput: it is a file, or it cannot be written, or made.
    """
    real = check_folder(folder, "the folder")
    others = {each.name for each in real.iterdir()} - {CARD_FILE, WEIGHTS_FILE, README_FILE} if real.exists() else ()
    if others:
        raise InvalidSetting(
            f"got {shown_path(folder)} to save a draft head in, expected a new or empty folder, it holds "
            f"{shown(min(others))}; choose another path"
        )


def _tokens_of(weights: dict[str, Tensor], card: DraftCard, base: FrozenLM, folder: Path) -> Tensor:
    tokens = weights.get("tokens", torch.empty(0, dtype=torch.long)).long()
    if tokens.shape != (card.tokens,) or not bool(((tokens >= 0) & (tokens < base.vocabulary_size)).all()):
        raise CorruptReward(f"{shown_path(folder / WEIGHTS_FILE)} has other tokens than its card; fetch it again")
    return tokens
