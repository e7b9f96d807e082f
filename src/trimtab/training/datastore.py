"""Build a datastore of hidden states and the tokens that followed them (RTD, 2409.20181)."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from trimtab.checking import checked
from trimtab.data.tables import PromptedText, digest_of
from trimtab.errors import InvalidData
from trimtab.models.frozen_lm import FrozenLM
from trimtab.rewards.card import RewardCard
from trimtab.rewards.heads.knn_head import KNNHead
from trimtab.rewards.heads.lm_head import LMHead
from trimtab.rewards.network import RewardNetwork, build_network
from trimtab.rewards.reward_model import RewardModel
from trimtab.training.batches import by_length
from trimtab.training.datastore_settings import DatastoreSettings, check_context
from trimtab.training.examples import encode_all, takes_base
from trimtab.versions import versions

BATCH = 32  # texts


@takes_base
@checked
def build_datastore(
    base: FrozenLM,
    attribute: str,
    texts: Sequence[PromptedText],
    held_out: Sequence[PromptedText],
    settings: DatastoreSettings | None = None,
    name: str = "datastore",
    provenance: Mapping[str, object] | None = None,
) -> RewardModel:
    """Store the base's last hidden state before each token of some texts, with the token. Nothing is trained.

    Steer with β = 1: `reward.toward(1.0)` samples from the mixture λ q + (1 − λ) p.

    Args:
        base: the language model to steer.
        attribute: the name of the reward.
        texts: the texts; of one with a prompt, only the tokens behind the prompt are stored, such as the one token of
            a label.
        held_out: texts whose perplexity is measured, with the mixture and without.
        settings: how many keys, K, T and λ.
        name: of the reward.
        provenance: the data and the command, for the card.

    Raises:
        InvalidData: no text has a token to store.
        InvalidSetting: `max_tokens` exceeds the base's context.
    """
    settings = settings or DatastoreSettings()
    check_context(base.context_length, settings)
    card = _card(base, attribute, 1)
    states, tokens = _collect(base, card, texts, settings)
    card = replace(
        card,
        keys=len(tokens),
        neighbours=settings.neighbours,
        distance_temperature=settings.distance_temperature,
        mix=settings.mix,
        provenance={**(provenance or {}), "texts": len(texts), "digest": _digest(texts), **versions()},
    )
    network = build_network(base, card)
    assert isinstance(network.head, KNNHead)
    network.head.keys.copy_(states)
    network.head.tokens.copy_(tokens)
    quality = _perplexities(base, card, network, held_out, settings.max_tokens) if held_out else {}
    return RewardModel(network, replace(card, quality=quality), base, name)


def _card(base: FrozenLM, attribute: str, keys: int) -> RewardCard:
    return RewardCard(
        base=base.name,
        base_fingerprint=base.base_fingerprint,
        base_weights_fingerprint=base.base_weights_fingerprint,
        tokenizer_fingerprint=base.codec.fingerprint,
        layers=base.layers,
        head="knn",
        attributes=(attribute,),
        trunk="frozen",
        baseline=False,
        clamp=None,
        bos_token_id=base.bos_token_id if base.prepends_bos else None,
        keys=keys,
    )


def _collect(
    base: FrozenLM, card: RewardCard, texts: Sequence[PromptedText], settings: DatastoreSettings
) -> tuple[Float[Tensor, "keys hidden"], Int[Tensor, " keys"]]:
    """The states and tokens that are stored, in the order of the texts' lengths."""
    examples = _examples(base, texts, settings.max_tokens)
    available = sum(example["length"] - example["from"] for example in examples)
    if not available:
        raise InvalidData("got no text with a token to store, expected at least one")
    generator = torch.Generator().manual_seed(settings.seed)
    drawn = torch.zeros(available, dtype=torch.bool)
    drawn[torch.randperm(available, generator=generator)[: settings.keys]] = True
    states, tokens, first = [], [], 0
    for before, ids in _pairs(base, build_network(base, card), examples):
        kept = drawn[first : first + len(ids)]
        first += len(ids)
        states.append(before[kept].cpu())
        tokens.append(ids[kept].cpu())
    return torch.cat(states), torch.cat(tokens)


def _examples(base: FrozenLM, texts: Sequence[PromptedText], max_tokens: int) -> list[dict[str, Any]]:
    """Token ids of each text, and the place of the first token to store: one that has a state before it."""
    prompts, bodies = (encode_all(base, [getattr(text, part) for text in texts]) for part in ("prompt", "text"))
    least = 0 if base.prepends_bos else 1
    found = []
    for prompt, body in zip(prompts, bodies, strict=True):
        ids = [*prompt, *body][:max_tokens]
        first = max(len(prompt), least, int(ids[:1] == [base.bos_token_id]))
        if len(ids) > first:
            found.append({"ids": ids, "from": first, "length": len(ids)})
    return found


def _pairs(
    base: FrozenLM, network: RewardNetwork, examples: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[Float[Tensor, "tokens hidden"], Int[Tensor, " tokens"]]]:
    """The state before each token of each text, from its first place on, and the tokens."""
    with torch.inference_mode():
        for some in by_length(examples, BATCH):
            batch = base.batch([each["ids"] for each in some])
            encoded = network.encoder.encode(batch.ids, batch.mask)
            for row, example in enumerate(some):
                count = example["length"] - example["from"]
                yield encoded.hidden[row, -count - 1 : -1].float(), encoded.ids[row, -count:]


def _perplexities(
    base: FrozenLM, card: RewardCard, network: RewardNetwork, texts: Sequence[PromptedText], max_tokens: int
) -> dict[str, object]:
    """The perplexity of held-out texts under the base and under the mixture."""
    reader, head = LMHead(base.output_embedding, base.logit_scale), network.head
    assert isinstance(head, KNNHead)
    plain, gained, count = 0.0, 0.0, 0
    for before, ids in _pairs(base, network, _examples(base, texts, max_tokens)):
        with torch.inference_mode():
            plain += float(reader.log_probs(before, ids[:, None]).sum())
            gained += float(head.next_rewards(before, ids[:, None]).sum())
        count += len(ids)
    if not count:
        return {}
    measured: dict[str, object] = {"texts": len(texts), "tokens": count}
    return measured | {"base_perplexity": math.exp(-plain / count), "perplexity": math.exp(-(plain + gained) / count)}


def _digest(texts: Sequence[PromptedText]) -> str:
    return digest_of([[text.prompt, text.text] for text in texts])
