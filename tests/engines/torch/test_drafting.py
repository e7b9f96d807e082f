"""What drafts under the name "draft": a head, another model, or nothing."""

from contextlib import ExitStack

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

import trimtab
from draft_heads import tiny_draft
from tiny import SPECIAL, WORDS, save_lm, tiny_lm, tiny_reward
from trimtab.engines.torch.draft_head import LAYERS, HeadProposer
from trimtab.engines.torch.draft_lm import LMProposer
from trimtab.engines.torch.drafting import draft_proposers
from trimtab.engines.torch.engine import TorchEngine
from trimtab.errors import CorruptReward, InvalidSetting, ModelNotFound, RewardMismatch
from trimtab.language_model import LanguageModel
from trimtab.models.frozen_lm import FrozenLM


@pytest.fixture(scope="module")
def llama():
    return tiny_lm("llama")


def other_tokenizer():
    """The tokens of the tiny tokenizer, two of them swapped."""
    names = [*SPECIAL, *WORDS]
    names[10], names[11] = names[11], names[10]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(names)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", unk_token="<unk>"
    )


def test_a_folder_of_a_head_drafts_by_it(llama, tmp_path):
    draft = tiny_draft(llama)
    draft.save_pretrained(tmp_path / "head", torch.float32)
    found = draft_proposers(llama, tmp_path / "head")["draft"]
    assert isinstance(found, HeadProposer)
    assert found.reads(llama.model) is found.draft.head
    weights = [*draft.head.parameters(), *draft.head.buffers()]
    share = sum(w.numel() for w in weights) / llama.model.num_parameters()
    assert found.cost == pytest.approx(share + LAYERS / llama.layers)


@pytest.mark.parametrize("card", [None, "{", "{}"])
def test_a_damaged_folder_of_a_head_is_named_as_one(llama, tmp_path, card):
    tiny_draft(llama).save_pretrained(tmp_path / "head", torch.float32)
    path = tmp_path / "head" / "config.json"
    path.unlink() if card is None else path.write_text(card)
    with pytest.raises(CorruptReward, match=r"head"):
        draft_proposers(llama, tmp_path / "head")


def test_another_model_reads_a_conversation_once(llama):
    """A session keeps what it has read, too, and counts it."""
    small = tiny_lm("llama", seed=3)
    session = LanguageModel(TorchEngine(llama, proposers={"draft": LMProposer(small, llama)})).session()
    options = {"max_new_tokens": 4, "seed": 0, "speculate": "draft"}
    prompt = " ".join(f"w{number}" for number in range(1, 20))
    session.generate(prompt, **options)
    before, read = session.engine.usage.tokens, {small: 0, llama: 0}
    with ExitStack() as hooks:
        for lm in read:

            def count(_, given, output, lm=lm):
                read[lm] += given[0].numel()

            hooks.enter_context(lm.model.get_input_embeddings().register_forward_hook(count))
        session.generate(prompt + " w20", **options)
    assert 0 < read[small] < 12
    assert session.engine.usage.tokens - before == sum(read.values())


def test_a_model_drafts_by_itself(llama, tmp_path):
    small = tiny_lm("qwen2")
    assert isinstance(draft_proposers(llama, small)["draft"], LMProposer)
    save_lm(small, tmp_path / "small")
    assert isinstance(draft_proposers(llama, tmp_path / "small")["draft"], LMProposer)
    with pytest.raises(ModelNotFound):
        draft_proposers(llama, tmp_path / "nothing")


def test_a_model_of_another_tokenizer_is_refused(llama):
    other = FrozenLM(tiny_lm("qwen2").model, other_tokenizer(), "other")
    with pytest.raises(RewardMismatch, match="'other' to draft for 'tiny-llama', which has another tokenizer"):
        draft_proposers(llama, other)


def test_a_model_without_a_head_says_how_to_get_one(llama):
    lm = trimtab.from_transformers(llama.model, llama.tokenizer)
    with pytest.raises(InvalidSetting, match="draft needs a draft head: see trimtab train draft --help"):
        lm.generate("w1", speculate="draft")


def test_a_loaded_model_drafts_in_every_call(llama, eager):
    small = trimtab.from_transformers(llama.model, llama.tokenizer)
    lm = trimtab.from_transformers(tiny_lm("llama").model, llama.tokenizer, draft=small)
    options = {"seed": 0, "max_new_tokens": 20, "stop": "w9"}
    plain = lm.generate(["w1 w2", "w3"], n=2, **options)
    found = lm.generate(["w1 w2", "w3"], n=2, speculate="draft", **options)
    for one, other in zip(plain, found, strict=True):
        assert [each.text for each in one.samples] == [each.text for each in other.samples]
    assert sum(each.usage.accepted for of in found for each in of.samples) > 10
    streamed = list(lm.stream("w1 w2", speculate="draft", **options))
    assert "".join(token.text for token in streamed) == plain[0].text
    assert lm.session().generate("w1 w2", speculate="draft", **options).text == plain[0].text
    assert found[0].as_dict()["usage"]["tokens_per_forward"] > 1
    reward = tiny_reward(llama, "q")
    assert lm.best_of("w1", 3, by=reward, speculate="draft", **options).text == (
        lm.best_of("w1", 3, by=reward, **options).text
    )
