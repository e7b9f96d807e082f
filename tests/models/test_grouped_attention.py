"""Attention by packed queries against attention written out, and in every family against transformers' eager one."""

import pytest
import torch
from torch import nn

from families import MORE, SETTINGS, tiny_family
from tiny import tiny_lm, tiny_tokenizer
from trimtab.models import grouped_attention as grouped
from trimtab.models.frozen_lm import FrozenLM
from trimtab.models.kv_cache import KVCache
from trimtab.models.layers import share_tensors
from trimtab.models.quicken import quicken, unquickened

OTHERS = ("gpt2", "gpt_neox", "deepseek_v3", "falcon", "opt", "gpt_oss", "gemma2")  # no shared keys, or eager attention
PROMPTS = [[10, 20, 30, 40, 11, 21, 31], [50, 51]]


def written_out(queries, keys, values, seen, scale):
    """Attention in float64, head by head."""
    sharing = queries.shape[1] // keys.shape[1]
    heads = []
    for head in range(queries.shape[1]):
        key, value = keys[:, head // sharing].double(), values[:, head // sharing].double()
        scores = queries[:, head].double() @ key.transpose(1, 2) * scale
        heads.append(scores.masked_fill(~seen, -torch.inf).softmax(-1) @ value)
    return torch.stack(heads, dim=1)


@pytest.mark.parametrize("new", [1, 3])
@pytest.mark.parametrize("key_heads", [1, 2, 6])
@pytest.mark.parametrize("additive", [True, False])
def test_it_is_attention(new, key_heads, additive):
    generator = torch.Generator().manual_seed(0)
    queries, keys, values = (
        torch.randn(2, heads, tokens, 8, generator=generator) for heads, tokens in ((6, new), *[(key_heads, 5)] * 2)
    )
    seen = torch.rand(2, new, 5, generator=generator) < 0.7
    seen[..., 0] = True
    mask = torch.zeros(seen.shape).masked_fill(~seen, torch.finfo(torch.float32).min) if additive else seen
    found = grouped.grouped_attention(queries, keys, values, mask[:, None], 0.3)
    expected = written_out(queries, keys, values, seen, 0.3)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)


def test_a_token_that_sees_all_needs_no_mask():
    generator = torch.Generator().manual_seed(0)
    queries, keys, values = (torch.randn(2, heads, n, 8, generator=generator) for heads, n in ((6, 1), (2, 5), (2, 5)))
    expected = written_out(queries, keys, values, torch.ones(2, 1, 5, dtype=torch.bool), 8**-0.5)
    torch.testing.assert_close(grouped.grouped_attention(queries, keys, values, None).double(), expected)


def logits_of(model):
    """Padded prompts, a token of each, three tokens of which rows keep different numbers, and a token behind holes."""
    cache, found = KVCache(model), []
    ids = torch.tensor([[0] * (len(PROMPTS[0]) - len(prompt)) + prompt for prompt in PROMPTS])
    mask = torch.tensor([[place >= 7 - len(prompt) for place in range(7)] for prompt in PROMPTS])
    found.append(cache.feed(ids, mask).logits)
    found.append(cache.feed(torch.tensor([[5], [6]])).logits)
    found.append(cache.feed(torch.tensor([[7, 8, 9], [12, 13, 14]]), torch.ones(2, 3, dtype=torch.bool), 3).logits)
    cache.retract([1, 2])
    found.append(cache.feed(torch.tensor([[15], [16]])).logits)
    return torch.cat([each.flatten(0, 1) for each in found])


@torch.inference_mode()
@pytest.mark.parametrize("family", [*SETTINGS, *MORE])
def test_every_family_has_the_logits_of_eager_attention(family, monkeypatch):
    model = tiny_family(family).model
    eager = share_tensors(model)
    eager.set_attn_implementation("eager")
    usual, calls = grouped.attention_of(model), []
    monkeypatch.setattr(grouped, "grouped_attention", counted(grouped.grouped_attention, calls))
    grouped.group_attention(model)
    torch.testing.assert_close(logits_of(model), logits_of(eager), rtol=1e-4, atol=1e-4)
    assert bool(calls) is (family not in OTHERS)
    grouped.ungroup_attention(model)
    assert grouped.attention_of(model) == usual


def counted(function, calls):
    def counting(*given):
        calls.append(len(given))
        return function(*given)

    return counting


def test_it_is_used_where_it_is_quicker():
    def packs(heads=6, new=1, mask=None, dtype=torch.float32):
        return grouped.packs(torch.zeros(2, heads, new, 8, dtype=dtype), torch.zeros(2, 2, 5, 8, dtype=dtype), mask)

    seen = torch.ones(2, 1, 3, 5, dtype=torch.bool)
    assert packs(new=3, mask=seen)
    assert packs(dtype=torch.bfloat16)
    assert not packs(), "torch's own is as quick for one token in float32"
    assert not packs(new=3), "without a mask, tokens see those before them alone"
    assert not packs(heads=2, new=3, mask=seen), "no heads share keys"
    assert not packs(new=3, mask=seen.expand(2, 6, 3, 5)), "a mask for each head"
    assert not packs(new=3, mask=seen[:, :, :1]), "one mask for all tokens"
    assert packs(new=3, mask=seen[:1]), "one mask for all rows"
    assert not packs(new=grouped.MOST_TOKENS + 1, mask=seen)


def test_what_is_unusual_is_left_to_transformers(monkeypatch):
    theirs = torch.ones(1)
    monkeypatch.setattr(grouped, "sdpa_attention_forward", lambda *given, **options: (theirs, None))
    states = torch.zeros(1, 4, 1, 8, dtype=torch.bfloat16), *[torch.zeros(1, 2, 3, 8, dtype=torch.bfloat16)] * 2
    assert grouped.forward(nn.Module(), *states, None, sliding_window=3)[0].shape == (1, 1, 4, 8)
    for options in ({"dropout": 0.1}, *({name: theirs} for name in grouped.UNUSUAL)):
        assert grouped.forward(nn.Module(), *states, None, **options)[0] is theirs


def test_a_model_with_other_attention_is_left_alone():
    model = tiny_lm("llama").model
    model.set_attn_implementation("eager")
    grouped.group_attention(model)
    assert grouped.attention_of(model) == "eager"
    grouped.group_attention(nn.Linear(2, 2))


def test_a_model_whose_code_looks_at_the_name_is_left_alone(tmp_path, monkeypatch):
    model = tiny_lm("llama").model
    code = tmp_path / "modeling.py"
    code.write_text('if self.config._attn_implementation == "sdpa":', encoding="utf-8")
    for path in (code, tmp_path / "nowhere.py"):
        monkeypatch.setattr("inspect.getfile", lambda kind, path=path: str(path))
        grouped.group_attention(model)
        assert grouped.attention_of(model) == "sdpa"


@torch.inference_mode()
def test_a_quick_model_in_16_bits_is_steerable_and_has_the_logits_of_eager_attention():
    model = tiny_lm("llama").model.bfloat16()
    eager = share_tensors(model)
    eager.set_attn_implementation("eager")
    assert grouped.attention_of(quicken(model)) == grouped.GROUPED
    assert grouped.attention_of(unquickened(model)) == grouped.USUAL
    quick = FrozenLM(model, tiny_tokenizer(), "quick")
    torch.testing.assert_close(logits_of(quick.model), logits_of(eager), rtol=0.1, atol=0.1)
