"""The form of prompts: plain texts, or user messages behind an optional system message."""

import pytest

from tiny_chat import chat_lm
from tiny_templates import GEMMA, QWEN, byte_tokenizer
from trimtab.errors import InvalidPrompt, InvalidSetting, WrongType
from trimtab.evaluation.prompt_form import PLAIN, PromptForm
from trimtab.models.codec import TokenizerCodec

USER = {"role": "user", "content": "w1"}


@pytest.mark.parametrize(
    ("form", "prompt", "record"),
    [
        (PLAIN, "w1", {}),
        (PromptForm(chat=True), [USER], {"chat": True}),
        (PromptForm(True, "w2"), [{"role": "system", "content": "w2"}, USER], {"chat": True, "system": "w2"}),
        (PromptForm(system=""), [{"role": "system", "content": ""}, USER], {"chat": True, "system": ""}),
    ],
)
def test_a_prompt_is_a_text_or_a_user_message(form, prompt, record):
    assert form.prompt("w1") == prompt
    assert form.record() == record
    assert PromptForm.of_row({"seed": 0, **record}).prompt("w1") == prompt


def codec_of(template):
    return TokenizerCodec(byte_tokenizer(template), "bytes", 512, [0])


def test_a_model_without_a_chat_template_takes_plain_texts_alone(llama):
    PLAIN.check(llama.codec)
    PromptForm(chat=True).check(chat_lm().codec)
    for form in (PromptForm(chat=True), PromptForm(system="w2")):
        with pytest.raises(InvalidSetting, match="tiny-llama has no chat template"):
            form.check(llama.codec)


def test_a_template_that_refuses_the_system_message_is_named():
    refusing = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + GEMMA
    PromptForm(chat=True).check(codec_of(refusing))
    with pytest.raises(InvalidPrompt, match="no system role"):
        PromptForm(system="Be kind.").check(codec_of(refusing))
    PromptForm(system="").check(codec_of(QWEN))


def test_wrong_types_are_our_errors():
    with pytest.raises(WrongType, match="system"):
        PromptForm(system=3)
