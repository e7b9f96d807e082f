"""The table of reward heads. A new head is a module and one line here; nothing in this file imports torch."""

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, final

from trimtab.checking import checked, shown
from trimtab.errors import InvalidSetting

if TYPE_CHECKING:
    from trimtab.rewards.heads.base import RewardHead


@final
@dataclass(frozen=True)
class HeadKind:
    """What is known of a head before torch is imported.

    Attributes:
        method: the decoding method's name, as `--method` takes it.
        title: the method, the head and the paper, for people.
        location: "module:Class" of the `RewardHead`.
        bundled_suffix: the suffix in the name of a bundled reward that has this head.
        low_rank: whether the head factors a matrix, so that its rank is at most the hidden size.
        scores_texts: whether its rewards are of texts, so that they mean the same for every tokenizer.
        reads_host: whether the head can read the steered model's own hidden states, or a ladder over them.
        is_language_model: whether its rewards are the log-probabilities of next tokens, so that it can be an expert.
        scores_prefixes: whether its reward is one number for each prefix, so that it can rank whole texts, and learn
            their labels.
    """

    method: str
    title: str
    location: str
    bundled_suffix: str = ""
    low_rank: bool = False
    scores_texts: bool = False
    reads_host: bool = False
    is_language_model: bool = False
    scores_prefixes: bool = True


HEADS = {
    "q": HeadKind(
        "arm", "ARM (Q-head, 2407.04615)", "trimtab.rewards.heads.q_head:QHead", low_rank=True, reads_host=True
    ),
    "v": HeadKind(
        "rad",
        "RAD (V-head, 2310.09520)",
        "trimtab.rewards.heads.v_head:VHead",
        bundled_suffix="-rad",
        scores_texts=True,
    ),
    "lm": HeadKind(
        "genarm",
        "GenARM (LM head, 2410.08193)",
        "trimtab.rewards.heads.lm_head:LMHead",
        is_language_model=True,
        scores_prefixes=False,
    ),
    "knn": HeadKind(
        "rtd",
        "RTD (kNN head, 2409.20181)",
        "trimtab.rewards.heads.knn_head:KNNHead",
        reads_host=True,
        scores_prefixes=False,
    ),
}


@checked
def head_kind(head: str) -> HeadKind:
    """The table's entry for a head.

    Raises:
        InvalidSetting: no head of that name.
    """
    if head not in HEADS:
        raise InvalidSetting(f"got head={shown(head)}, expected {' or '.join(HEADS)}")
    return HEADS[head]


def head_class(head: str) -> "type[RewardHead]":
    """The class of a head. This imports torch.

    Raises:
        InvalidSetting: no head of that name.
    """
    module, _, name = head_kind(head).location.partition(":")
    return getattr(import_module(module), name)


@checked
def head_of_method(method: str) -> str:
    """The head that a decoding method uses: "q" for "arm", "v" for "rad".

    Raises:
        InvalidSetting: no method of that name.
    """
    heads = {kind.method: head for head, kind in HEADS.items()}
    if method not in heads:
        raise InvalidSetting(f"got method {shown(method)}, expected {' or '.join(heads)}")
    return heads[method]


def check_ladder(trunk: str, head: str) -> None:
    """Refuse a ladder under a head that runs its candidates: it would need a forward of the whole model for each.

    Raises:
        InvalidSetting: the head cannot read a ladder.
    """
    able = [name for name, kind in HEADS.items() if kind.reads_host]
    if trunk == "ladder" and head not in able:
        raise InvalidSetting(f"got head={head!r} with trunk='ladder', expected head={' or '.join(able)}")


def describe_heads() -> str:
    """Every head with its method, for help texts."""
    return ", ".join(f"{head} = {kind.title}" for head, kind in HEADS.items())
