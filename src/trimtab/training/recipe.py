"""Settings of a training run. No torch here, so that the command line starts fast.

The text beside each type is the help text of the option.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple, final

from trimtab.checking import checked, shown
from trimtab.errors import InvalidSetting
from trimtab.rewards.card import RewardCard, TrunkTraining
from trimtab.rewards.heads import HEADS, check_ladder, describe_heads, head_class, head_kind
from trimtab.rewards.taps import check_ladder_width, even_taps

LEARNING_RATES: dict[TrunkTraining, float] = {"frozen": 1e-3, "ladder": 2e-3, "lora": 1e-3, "full": 1e-5}
LM_LEARNING_RATE = 5e-4  # of a language model's LoRA layers
LARGEST = 10**9  # of any setting; more is a mistake
POSITIVE = (
    *("rank", "lora_rank", "ladder_layers", "ladder_width", "ladder_heads"),
    *("batch_size", "max_tokens", "epochs", "checkpoints"),
    *("layers", "learning_rate", "patience"),
)
LabelLoss = Literal["squared", "cross-entropy"]
DistilTarget = Literal["orig", "delta", "candidates"]


@final
@checked
@dataclass(frozen=True)
class Recipe:
    """Settings that all objectives share. Defaults are the papers' where they give one.

    Raises:
        InvalidSetting: a value is out of range.
    """

    head: Annotated[str, f"Kind of head: {describe_heads()}."] = "q"
    layers: Annotated[
        int | None,
        "Number of layers in the trunk, or under the ladder, counted from the first layer of the base. Default: all.",
    ] = None
    rank: Annotated[int, "The rank of a Q-head; the hidden size for the paper's full W."] = 64
    trunk: Annotated[
        TrunkTraining,
        "The trunk: frozen (the base's own state), ladder (a few narrow layers over its states), lora (low-rank "
        "adapters) or full (every weight).",
    ] = "lora"
    lora_rank: Annotated[int, "The rank of the LoRA adapters; alpha is twice the rank."] = 16
    ladder_layers: Annotated[int, "Layers of a ladder; each reads one depth of the base."] = 5
    ladder_width: Annotated[int, "The size of a ladder's states."] = 192
    ladder_heads: Annotated[int, "Attention heads of each layer of a ladder."] = 3
    keep_states: Annotated[
        bool,
        "Keep the base's hidden states in the run folder, for a ladder: epochs after the first need no forward of the "
        "base.",
    ] = False
    start: Annotated[str | None, "Start from the adapters and the baseline of this reward, where shapes agree."] = None
    epochs: Annotated[float, "Number of passes over the data."] = 1.0
    batch_size: Annotated[int, "Texts per step, over all processes."] = 100
    learning_rate: Annotated[
        float | None,
        "Peak learning rate. Default: 1e-3 for frozen and lora trunks, 2e-3 for a ladder, 1e-5 for full; 5e-4 for the "
        "LoRA layers of a language model.",
    ] = None
    warmup_steps: Annotated[int, "Steps over which the learning rate rises to its peak; at most half of all steps."] = (
        100
    )
    clip: Annotated[float, "Maximum norm of the gradient; 0 for no limit."] = 2.0
    regulariser: Annotated[
        float, "Weight of the regulariser of a Q-head: a token that training never shows gets its prefix's reward."
    ] = 1.0
    max_tokens: Annotated[int, "Maximum tokens per text; longer texts are cut at the end."] = 128
    bf16: Annotated[bool, "Compute in bfloat16; trained weights stay in float32."] = True
    checkpoints: Annotated[int, "Number of checkpoints; each measures the held-out texts."] = 4
    patience: Annotated[
        int | None, "Stop after this many checkpoints without a lower held-out loss, and keep the best. Default: never."
    ] = None
    probe_beta: Annotated[float, "Steering strength β at which top1_flip is measured."] = 20.0
    seed: Annotated[int, "Seed of the initial weights, the order of the texts and the sampled tokens."] = 0

    def __post_init__(self) -> None:
        head_kind(self.head)
        if self.start is not None and not self.start.strip():
            raise InvalidSetting("got an empty start, expected a reward: a bundled name, a folder or a Hub id")
        for name in POSITIVE:
            value = getattr(self, name)
            if value is not None and not 0 < value <= LARGEST:
                raise InvalidSetting(f"got {name}={shown(value)}, expected more than 0, at most {LARGEST:.0e}")
        if not 0 <= self.seed < 2**32:
            raise InvalidSetting(f"got seed={shown(self.seed)}, expected 0 to {2**32 - 1}")
        check_ladder(self.trunk, self.head)
        if self.keep_states and self.trunk != "ladder":
            raise InvalidSetting(f"got keep_states with trunk={self.trunk!r}, expected trunk='ladder'")
        check_ladder_width(self.ladder_width, self.ladder_heads)
        for name in ("warmup_steps", "clip", "regulariser", "probe_beta"):
            if not 0 <= getattr(self, name) <= LARGEST:
                given = shown(getattr(self, name))
                raise InvalidSetting(f"got {name}={given}, expected at least 0, at most {LARGEST:.0e}")

    @property
    def resolved_learning_rate(self) -> float:
        """Return the learning rate; if none is set, the default for this training of the trunk."""
        low = self.trunk == "lora" and head_kind(self.head).is_language_model
        return self.learning_rate or (LM_LEARNING_RATE if low else LEARNING_RATES[self.trunk])


@final
@checked
@dataclass(frozen=True)
class LabelSettings:
    """How a reward learns from labels."""

    loss: Annotated[LabelLoss, "Loss: squared (both papers), or cross-entropy with a sigmoid at inference."] = "squared"


@final
@checked
@dataclass(frozen=True)
class PairSettings:
    """How a reward learns from preferences."""

    prefixes: Annotated[
        bool, "Compare prefixes of equal length as well as whole texts; longer prefixes weigh more."
    ] = False
    policy_loss: Annotated[
        float,
        "Weight α of a second loss: the trunk also learns as a language model which text is preferred (HaF-RM).",
    ] = 0.0
    policy_temperature: Annotated[float, "τ of this second loss."] = 0.1
    edits: Annotated[
        bool,
        "Learn token rewards from the minimal edit between both texts instead (RLMEC): 0.5 for a token of the chosen "
        "text, -0.1 for a token of the rejected text that the edit takes out, 0 for the others.",
    ] = False

    def __post_init__(self) -> None:
        if not 0 <= self.policy_loss <= LARGEST:
            given = shown(self.policy_loss)
            raise InvalidSetting(f"got policy_loss={given}, expected at least 0, at most {LARGEST:.0e}")
        if not 0 < self.policy_temperature <= LARGEST:
            given = shown(self.policy_temperature)
            raise InvalidSetting(f"got policy_temperature={given}, expected more than 0, at most {LARGEST:.0e}")
        if not self.policy_loss and self.policy_temperature != PairSettings.policy_temperature:
            raise InvalidSetting(f"got policy_temperature={self.policy_temperature:g}, expected policy_loss with it")
        if self.edits and (self.prefixes or self.policy_loss):
            raise InvalidSetting("got edits with prefixes or policy_loss, expected one objective")

    @property
    def described(self) -> str:
        """The objective in a few words, for the card."""
        if self.edits:
            return "pairs, token rewards of the edit"
        policy = f", policy loss {self.policy_loss:g} at {self.policy_temperature:g}" if self.policy_loss else ""
        return "pairs" + (", with prefixes" if self.prefixes else "") + policy


LM_RECIPE = Recipe(head="lm", batch_size=32, regulariser=0.0, probe_beta=1.0)


@final
@checked
@dataclass(frozen=True)
class GenARMSettings:
    """How a language model learns from preferences (GenARM, 2410.08193)."""

    beta_r: Annotated[float, "β_r, which scales the log-probabilities of whole texts in the loss."] = 0.05

    def __post_init__(self) -> None:
        if not 0 < self.beta_r <= LARGEST:
            raise InvalidSetting(f"got beta_r={shown(self.beta_r)}, expected more than 0, at most {LARGEST:.0e}")


@final
@checked
@dataclass(frozen=True)
class DistilSettings:
    """What a student learns from its teacher."""

    target: Annotated[
        DistilTarget,
        "Target of the student: orig (reward after each token of the text), delta (change of the reward at each token) "
        "or candidates (orig, and the rewards of the base's most likely tokens at every position, the first included).",
    ] = "candidates"
    candidates: Annotated[
        int, "Number of most likely tokens per position that the teacher scores for --target candidates."
    ] = 20
    positions: Annotated[
        int | None,
        "Positions of each text, drawn at random, at which the teacher scores --candidates. Fewer positions leave time "
        "for more texts. Default: all.",
    ] = None
    credit: Annotated[
        Literal["attention"] | None,
        "Share the reward of a whole text among its tokens by the teacher's attention (ABC); with --target delta.",
    ] = None
    credit_share: Annotated[
        float, "Share β of the reward that attention distributes, from 0 to 1; the last token has the rest."
    ] = 0.65

    def __post_init__(self) -> None:
        for name in ("candidates", "positions"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InvalidSetting(f"got {name}={shown(value)}, expected at least 1")
        if self.credit is not None and self.target != "delta":
            raise InvalidSetting(f"got credit={self.credit!r} with target={self.target!r}, expected target='delta'")
        if not 0 <= self.credit_share <= 1:
            raise InvalidSetting(f"got credit_share={shown(self.credit_share)}, expected 0 to 1")
        if self.credit is None and self.credit_share != DistilSettings.credit_share:
            raise InvalidSetting(f"got credit_share={self.credit_share:g}, expected credit with it")
        if self.positions is not None and self.target != "candidates":
            raise InvalidSetting(
                f"got positions={self.positions} with target={self.target!r}, expected target='candidates'"
            )

    @property
    def described(self) -> str:
        """The target in a few words, for the card."""
        if self.credit is not None:
            return f"credit by {self.credit}, share {self.credit_share:g}"
        if self.target != "candidates":
            return self.target
        return f"candidates of {self.candidates}" + (f" at {self.positions} positions" if self.positions else "")


@final
@checked
@dataclass(frozen=True)
class Source:
    """The table to train on and the table to measure on."""

    data: Annotated[str, "Training texts: a .jsonl, .csv or .tsv file (.gz allowed), or the Hub id of a data set."]
    held_out: Annotated[
        str | None, "Held-out texts, in the same formats. Default: 5 % of --data, which is then not trained on."
    ] = None
    split: Annotated[str, "Split of --data, for a data set on the Hub."] = "train"
    held_out_split: Annotated[str, "Split of --held-out, for a data set on the Hub."] = "validation"
    limit: Annotated[int | None, "Maximum number of training rows, drawn at random. Default: all."] = None
    held_out_limit: Annotated[int | None, "Maximum number of rows of --held-out, from the first. Default: all."] = None

    def __post_init__(self) -> None:
        for name in ("data", "held_out"):
            if getattr(self, name) is not None and not getattr(self, name).strip():
                raise InvalidSetting(f"got an empty {name}, expected a file or the Hub id of a data set")
        if self.held_out_limit is not None and self.held_out is None:
            raise InvalidSetting(
                f"got held_out_limit={shown(self.held_out_limit)} without held-out texts, expected held_out too"
            )
        for name in ("limit", "held_out_limit"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InvalidSetting(f"got {name}={shown(value)}, expected at least 1")


def check_fits(recipe: Recipe, layers: int, hidden_size: int) -> None:
    """Check that a recipe fits a base. It needs the base's config only.

    Args:
        recipe: the settings.
        layers: the number of the base's layers.
        hidden_size: the length of its hidden states.

    Raises:
        InvalidSetting: it asks for more layers, or a higher rank, than the base has, or for more rungs than layers.
    """
    if recipe.layers is not None and recipe.layers > layers:
        raise InvalidSetting(f"got layers={shown(recipe.layers)}, expected at most the base's {layers}")
    if recipe.trunk == "ladder":
        even_taps(recipe.layers or layers, recipe.ladder_layers)  # or it raises
    ranks = {"rank": head_kind(recipe.head).low_rank, "lora_rank": recipe.trunk == "lora"}
    for name in (name for name, used in ranks.items() if used):
        if getattr(recipe, name) > hidden_size:
            raise InvalidSetting(f"got {name}={getattr(recipe, name)}, expected at most the hidden size, {hidden_size}")


def check_scores_prefixes(recipe: Recipe) -> None:
    """Check that a head can learn the label or the rank of a text: its reward is one number for each prefix.

    Raises:
        InvalidSetting: it is a language model or a datastore.
    """
    if not head_kind(recipe.head).scores_prefixes:
        able = [head for head, kind in HEADS.items() if kind.scores_prefixes]
        raise InvalidSetting(
            f"got head={recipe.head!r}, which learns by trimtab train genarm, by trimtab train expert or by trimtab "
            f"train datastore; expected {' or '.join(able)}"
        )


def check_learns_pairs(recipe: Recipe, settings: PairSettings) -> None:
    """Check that a trunk can learn as a language model, and a head the rewards of single tokens, where pairs need it.

    Raises:
        InvalidSetting: one cannot.
    """
    if settings.policy_loss and recipe.trunk not in ("lora", "full"):
        raise InvalidSetting(
            f"got policy_loss={settings.policy_loss:g} with trunk={recipe.trunk!r}, expected trunk='lora' or 'full'"
        )
    if settings.edits and "delta" not in head_class(recipe.head).distillation_targets:
        raise InvalidSetting(f"got edits with head={recipe.head!r}, which scores prefixes; expected head='q'")


def check_trains_lm(recipe: Recipe) -> None:
    """Check that a recipe trains a language model.

    Raises:
        InvalidSetting: another head, or a trunk that is not trained as a whole.
    """
    if not head_kind(recipe.head).is_language_model:
        raise InvalidSetting(f"got head={recipe.head!r} for a language model, expected head='lm'")
    if recipe.trunk not in ("lora", "full"):
        raise InvalidSetting(f"got trunk={recipe.trunk!r} for a language model, expected trunk='lora' or 'full'")


def check_target_of(teacher: str, card: RewardCard, recipe: Recipe, settings: DistilSettings) -> None:
    """Check that a student's head can learn its target from a teacher. It needs the teacher's card only.

    Args:
        teacher: the teacher's name, for messages.
        card: its card.
        recipe, settings: the settings of the student.

    Raises:
        InvalidSetting: the head cannot learn the target, or the teacher returns differences.
    """
    if not card.baseline:
        raise InvalidSetting(f"got the teacher {shown(teacher)} of differences, expected a teacher of rewards")
    check_head_learns(recipe, settings)


def check_head_learns(recipe: Recipe, settings: DistilSettings) -> None:
    """Check that a student's head can learn its target.

    Raises:
        InvalidSetting: it cannot.
    """
    able = [head for head in HEADS if settings.target in head_class(head).distillation_targets]
    if recipe.head not in able:
        raise InvalidSetting(
            f"got target={settings.target!r} with head={recipe.head!r}, which cannot learn it; "
            f"expected head={' or '.join(able)}"
        )


class TaughtText(NamedTuple):
    """What several teachers of one student must agree on, of a teacher of texts; a reward has it in its card.

    The BOS is that of the student's base.
    """

    attributes: tuple[str, ...]
    clamp: tuple[float, float] | None
    bos_token_id: int | None


def check_teachers(cards: Sequence[RewardCard | TaughtText]) -> tuple[tuple[str, ...], tuple[float, float] | None]:
    """Check that several teachers fit together; returns the attributes and the clamp of their student.

    Raises:
        InvalidSetting: there is none, two have an attribute of one name, or they differ in their clamp, or in whether
            they put BOS before a text.
    """
    if not cards:
        raise InvalidSetting("got no teacher, expected at least one")
    attributes = tuple(name for card in cards for name in card.attributes)
    if len(set(attributes)) < len(attributes):
        raise InvalidSetting(f"got teachers of {', '.join(map(shown, attributes))}, expected different attributes")
    for what, values in (("clamp", {c.clamp for c in cards}), ("bos_token_id", {c.bos_token_id for c in cards})):
        if len(values) > 1:
            raise InvalidSetting(f"got teachers with {what} of {' and '.join(map(str, values))}, expected the same")
    return attributes, cards[0].clamp
