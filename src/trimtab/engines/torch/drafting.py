"""What drafts for a language model under the name "draft": a draft head, or another language model."""

from collections.abc import Mapping
from os import PathLike, fspath
from pathlib import Path

from trimtab.drafts.card import is_draft_folder
from trimtab.drafts.draft_model import DraftModel, bundled_draft
from trimtab.engines.proposer import Proposer
from trimtab.engines.torch.draft_head import HeadProposer
from trimtab.engines.torch.draft_lm import LMProposer
from trimtab.engines.torch.engine import DRAFT
from trimtab.models.frozen_lm import FrozenLM
from trimtab.models.loading import load_frozen_lm

Draft = str | PathLike[str] | FrozenLM | None


def draft_proposers(base: FrozenLM, draft: Draft = None) -> Mapping[str, Proposer]:
    """What drafts for a language model, under the name "draft"; empty if nothing does.

    Args:
        base: the language model.
        draft: the folder of a draft head; or another language model of the same tokenizer, loaded or by name; default:
            the draft head in the package that was trained on the model, if there is one.

    Raises:
        CorruptReward: the folder is damaged.
        RewardMismatch: the head was trained on another model, or the other model has another tokenizer.
        ModelNotFound, UnsupportedModel: the other model cannot be loaded.
    """
    if isinstance(draft, FrozenLM):
        return {DRAFT: LMProposer(draft, base)}
    folder = bundled_draft(base) if draft is None else Path(draft)
    if folder is None:
        return {}
    if draft is None or is_draft_folder(folder):
        return {DRAFT: HeadProposer(DraftModel.from_folder(folder, base), base)}
    other = load_frozen_lm(fspath(draft), str(base.device), base.model.dtype)
    return {DRAFT: LMProposer(other, base)}
