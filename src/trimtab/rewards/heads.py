"""The two reward heads: QHead answers for every next token at once, VHead for the prefix as it stands."""

import copy
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from trimtab.rewards.card import Link

UP_INIT_STD = 0.02


def make_link(link: Link) -> nn.Module:
    """From a head's answers to rewards: nothing, or the sigmoid of a head trained by cross-entropy.

    A head's `forward` returns its answers as they are trained; `head.link` of them is what steers and is scored.
    """
    return nn.Sigmoid() if link == "sigmoid" else nn.Identity()


@final
class QHead(nn.Module):
    """ARM's low-rank head: the reward of every next token from one hidden state (2407.04615, "linear with baseline").

        r_a(v | x) = ⟨w_a, h⟩ + c_a + ⟨U V_a h, e_v⟩

    h is the trunk's hidden state at the prefix x; e_v the base's frozen output embedding of the token v, scaled to unit
    variance. The first half is the prefix's baseline, the second the token's marginal.

    Differs from the paper: W = U V_a has a rank knob (`rank = hidden size` is the paper's full W), and e_v is scaled,
    so that one learning rate serves every base.

    Args:
        embedding: the output embedding [vocabulary, hidden]; read, never trained, never saved.
        attributes: how many rewards the head returns.
        rank: R, the rank of the marginal.
        baseline: whether the prefix's baseline is there; without it the head returns differences.
        link: what `link` applies to the head's answers; see `make_link`.
    """

    embedding_scale: Tensor

    def __init__(
        self,
        embedding: Float[Tensor, "vocabulary hidden"],
        attributes: int,
        rank: int,
        baseline: bool = True,
        link: Link = "identity",
    ):
        super().__init__()
        self.attributes = attributes
        self.link = make_link(link)
        hidden = embedding.shape[1]
        self.baseline = nn.Linear(hidden, attributes) if baseline else None
        self.up = nn.Parameter(torch.randn(hidden, rank) * UP_INIT_STD)
        self.down = nn.Parameter(torch.zeros(attributes, rank, hidden))
        self.register_buffer("embedding_scale", 1 / embedding.float().std())
        self._embedding = (embedding,)  # in a tuple: neither a parameter nor part of the state dict

    @property
    def vocabulary_size(self) -> int:
        """How many tokens the head can score."""
        return self._embedding[0].shape[0]

    def forward(
        self, hidden: Float[Tensor, "*prefixes hidden"], candidates: Int[Tensor, "*prefixes k"] | None = None
    ) -> Float[Tensor, "*prefixes k attributes"]:
        """The rewards of candidate next tokens, gathered before they are scored.

        Args:
            hidden: the trunk's states at the prefixes.
            candidates: token ids; default: the whole vocabulary, in order.
        """
        rewards = self.marginal(hidden, candidates)
        if self.baseline is not None:
            rewards = rewards + self.baseline(hidden.to(self.up.dtype)).unsqueeze(-2)
        return rewards

    def in_double(self) -> "QHead":
        """A copy in float64, for measuring; the embedding is shared, and widened where it is gathered."""
        (embedding,) = self._embedding
        return copy.deepcopy(self, {id(embedding): embedding}).double()

    def marginal(
        self, hidden: Float[Tensor, "*prefixes hidden"], candidates: Int[Tensor, "*prefixes k"] | None = None
    ) -> Float[Tensor, "*prefixes k attributes"]:
        """⟨U V_a h, e_v⟩ alone: what a token adds to its prefix's baseline."""
        narrow = torch.einsum("ard,...d->...ar", self.down, hidden.to(self.up.dtype))
        queries = narrow @ self.up.T * self.embedding_scale
        (embedding,) = self._embedding
        if candidates is None:
            return (queries @ embedding.to(queries.dtype).T).transpose(-1, -2)
        return embedding[candidates].to(queries.dtype) @ queries.transpose(-1, -2)


@final
class VHead(nn.Module):
    """RAD's head: the reward of a prefix from its own hidden state, r_a(x) = ⟨w_a, h(x)⟩ + c_a (2310.09520)."""

    def __init__(self, hidden_size: int, attributes: int, link: Link = "identity"):
        super().__init__()
        self.attributes = attributes
        self.link = make_link(link)
        self.value = nn.Linear(hidden_size, attributes)

    def forward(self, hidden: Float[Tensor, "*prefixes hidden"]) -> Float[Tensor, "*prefixes attributes"]:
        """The rewards of the prefixes that end where `hidden` was read."""
        return self.value(hidden.to(self.value.weight.dtype))
