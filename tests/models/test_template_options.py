"""Options of chat templates, such as thinking or not, against transformers' own `apply_chat_template`."""

import pytest
import torch

from families import tiny_config, tiny_model
from tiny import save_lm
from tiny_chat import TEMPLATE, chat_lm
from tiny_templates import QWEN, THINK, THINKING, byte_tokenizer
from trimtab import RewindSettings, errors, from_transformers, load
from trimtab.language_model import LanguageModel
from trimtab.models.codec import TokenizerCodec
from trimtab.testing import ScriptedEngine, WordCodec

CONVERSATIONS = [
    [{"role": "user", "content": "Hi"}],
    [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi </think> there"},
        {"role": "assistant", "content": "<think>\nhm\n</think>\n\nHey"},
        {"role": "user", "content": "Bye"},
    ],
]
GREEDY = {"temperature": 0, "max_new_tokens": 3}
SAID = [{"role": "user", "content": "w1 w2"}]
MOOD = TEMPLATE + "{% if mood is defined and mood %} w40 {% endif %}"


def codec_of(template, **options):
    return TokenizerCodec(byte_tokenizer(template), "tiny", 10_000, [0], None, options)


def theirs(codec, conversation, **options):
    return list(
        codec.tokenizer.apply_chat_template(conversation, add_generation_prompt=True, return_dict=False, **options)
    )


@pytest.fixture(scope="module")
def moody():
    """A model that runs, whose chat template has an option."""
    lm = chat_lm()
    lm.tokenizer.chat_template = MOOD
    return from_transformers(lm.model, lm.tokenizer)


@pytest.mark.parametrize("family", THINKING)
@pytest.mark.parametrize("options", [{}, {"enable_thinking": True}, {"enable_thinking": False}])
def test_thinking_templates_have_the_ids_of_transformers(family, options):
    codec = codec_of(THINKING[family], **options)
    assert codec.encode_prompt(CONVERSATIONS[0]) == theirs(codec, CONVERSATIONS[0], **options)
    rendered = codec.render(CONVERSATIONS[0])
    assert rendered.rstrip().endswith("</think>") == (options.get("enable_thinking") is False)


@pytest.mark.parametrize("family", THINKING)
def test_a_user_cannot_end_the_model_s_thinking(family):
    """`</think>` in a user's message is text. In the model's own message it keeps its meaning."""
    codec = codec_of(THINKING[family], enable_thinking=False)
    (_, closer) = codec.tokenizer.convert_tokens_to_ids(THINK)
    ids = codec.encode_prompt(CONVERSATIONS[1])
    assert theirs(codec, CONVERSATIONS[1], enable_thinking=False).count(closer) == ids.count(closer) + 1
    assert "Hi </think> there" in codec.tokenizer.decode(ids)


def test_an_empty_system_message_leaves_out_the_turn_with_the_mode():
    codec = codec_of(THINKING["smollm3"], enable_thinking=False)
    rendered = codec.render([{"role": "system", "content": ""}, *CONVERSATIONS[0]])
    assert rendered == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n"


@pytest.mark.parametrize("option", ["enable_thinkin", "messages", "add_generation_prompt", "tokenize"])
def test_an_option_that_the_template_lacks_is_refused(option):
    with pytest.raises(errors.InvalidSetting, match=rf"'{option}'.*it has enable_thinking"):
        codec_of(THINKING["qwen3"], **{option: True})


def test_a_template_without_options_says_so():
    with pytest.raises(errors.InvalidSetting, match="none of the usual ones"):
        codec_of(QWEN, enable_thinking=False)


def test_the_fingerprint_of_the_template_tells_options_apart():
    choices = ({}, {"enable_thinking": False}, {"enable_thinking": True})
    plain, off, on = (codec_of(THINKING["qwen3"], **options) for options in choices)
    assert len({each.chat_template_fingerprint for each in (plain, off, on)}) == 3
    switched = plain.with_template_options({"enable_thinking": False})
    assert switched.chat_template_fingerprint == off.chat_template_fingerprint
    assert plain.chat_template_kwargs == {}


def test_chat_takes_options_for_one_call(moody):
    plain, moved = moody.chat(SAID, **GREEDY), moody.chat(SAID, chat_template_kwargs={"mood": True}, **GREEDY)
    ids = torch.tensor([theirs(moody.engine.codec, SAID, mood=True)])
    expected = moody.model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=3)
    assert list(moved.token_ids) == expected[0, ids.shape[1] :].tolist()
    assert moved.provenance["chat_template_kwargs"] == {"mood": True}
    assert "chat_template_kwargs" not in plain.provenance
    assert moody.chat(SAID, **GREEDY).token_ids == plain.token_ids


def test_a_model_takes_options_for_every_call(moody, tmp_path):
    save_lm(moody, tmp_path)
    expected = moody.chat(SAID, chat_template_kwargs={"mood": True}, **GREEDY)
    options = {"chat_template_kwargs": {"mood": True}}
    loaded = load(tmp_path, **options), from_transformers(moody.model, moody.tokenizer, **options)
    for lm in loaded:
        assert lm.chat(SAID, **GREEDY).token_ids == lm.generate([SAID], **GREEDY)[0].token_ids == expected.token_ids
        assert lm.chat(SAID, **GREEDY).provenance["chat_template_kwargs"] == {"mood": True}
        searched = lm.rewind(
            [SAID], lambda prompt, text: 1.0, similarity="off", settings=RewindSettings(max_new_tokens=2)
        )
        assert searched[0].provenance["chat_template_kwargs"] == {"mood": True}
        assert (
            lm.chat(SAID, chat_template_kwargs={"mood": False}, **GREEDY).token_ids
            == moody.chat(SAID, **GREEDY).token_ids
        )


def test_an_option_that_the_template_lacks_is_refused_before_weights_are_read(moody, tmp_path, monkeypatch):
    save_lm(moody, tmp_path)
    monkeypatch.setattr("trimtab.models.loading._load_weights", lambda *_: pytest.fail("the weights were read"))
    for call in (
        lambda: load(tmp_path, chat_template_kwargs={"mod": True}),
        lambda: from_transformers(moody.model, moody.tokenizer, chat_template_kwargs={"mod": True}),
        lambda: moody.chat(SAID, chat_template_kwargs={"mod": True}),
    ):
        with pytest.raises(errors.InvalidSetting, match="'mod'"):
            call()
    with pytest.raises(errors.WrongType, match="chat_template_kwargs"):
        moody.chat(SAID, chat_template_kwargs=["mood"])


def test_an_engine_without_a_template_takes_no_options():
    lm = LanguageModel(ScriptedEngine(WordCodec(["a", "b"]), lambda words: {"a": 1.0}))
    with pytest.raises(errors.InvalidSetting, match="no chat template"):
        lm.chat([{"role": "user", "content": "a"}], chat_template_kwargs={"mood": True})


@pytest.mark.parametrize("prepends", [True, False])
def test_a_tokenizer_with_bos_before_every_text_adds_none_to_a_template(prepends):
    """The template has a BOS of its own; a plain text gets the tokenizer's."""
    from tokenizers.processors import TemplateProcessing

    lm = chat_lm()
    if prepends:
        lm.tokenizer.backend_tokenizer.post_processor = TemplateProcessing("<bos> $A", special_tokens=[("<bos>", 1)])
    steered = from_transformers(tiny_model(tiny_config("llama")), lm.tokenizer)
    ids = steered.engine.codec.encode_prompt(SAID)
    assert ids == theirs(steered.engine.codec, SAID)
    assert ids.count(1) == 1
    assert steered.engine.codec.encode_prompt("w1") == ([1, 5] if prepends else [5])
    assert steered.base.prepends_bos == prepends
