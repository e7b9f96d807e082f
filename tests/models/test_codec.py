import hashlib
import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from tokenizers import processors

from tiny import SPECIAL, WORDS, tiny_tokenizer
from tiny_chat import ASSISTANT, BOS, EOS, SYSTEM, TEMPLATE, USER, chat_lm
from trimtab.errors import InvalidPrompt, InvalidSetting
from trimtab.models.codec import TextCodec, TokenizerCodec, check_conversation, prompt_text

USER_TURN = {"role": "user", "content": "w1 w2"}
CONVERSATION = [
    {"role": "system", "content": "w9"},
    USER_TURN,
    {"role": "assistant", "content": "w3"},
    {"role": "user", "content": "w4 w5"},
]
CONVERSATION_IDS = [BOS, SYSTEM, 13, EOS, USER, 5, 6, EOS, ASSISTANT, 7, EOS, USER, 8, 9, EOS, ASSISTANT]


def codec_of(template=None, context_length=64, special_tokens=False):
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = template
    if special_tokens:
        tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single="<bos> $A", special_tokens=[("<bos>", BOS)]
        )
    return TokenizerCodec(tokenizer, "tiny", context_length, [EOS])


def test_a_tokenizer_codec_keeps_the_protocol():
    assert isinstance(codec_of(), TextCodec)


@pytest.mark.parametrize("conversation", [[USER_TURN], CONVERSATION, CONVERSATION[:2]])
def test_a_conversation_has_the_tokens_of_transformers_chat_template(conversation):
    lm = chat_lm()
    expected = lm.tokenizer.apply_chat_template(conversation, add_generation_prompt=True, return_dict=False)
    assert lm.codec.encode_prompt(conversation) == list(expected)


def test_a_conversation_has_the_tokens_written_out_by_hand():
    assert codec_of(TEMPLATE).encode_prompt(CONVERSATION) == CONVERSATION_IDS


def test_a_conversation_gets_no_second_bos():
    codec = codec_of(TEMPLATE, special_tokens=True)
    assert codec.encode_prompt(CONVERSATION) == CONVERSATION_IDS
    assert codec.encode_prompt("w1") == [BOS, 5]
    assert codec.encode_text("w1") == [5]
    assert codec.opening_ids() == [BOS]


def test_most_tokenizers_put_nothing_before_a_text():
    assert codec_of().opening_ids() == []


def test_a_conversation_is_rendered_with_an_open_turn_or_its_last_message_continued():
    codec = codec_of(TEMPLATE)
    assert codec.render([{"role": "user", "content": "w1"}]) == "<bos> w51 w1 <eos> w52 "
    begun = [{"role": "user", "content": "w1"}, {"role": "assistant", "content": "w2 w3"}]
    assert codec.render(begun, continue_final_message=True) == "<bos> w51 w1 <eos> w52 w2 w3"


def test_a_model_without_a_chat_template_refuses_a_conversation():
    for call in (lambda codec: codec.encode_prompt([USER_TURN]), lambda codec: codec.render([USER_TURN])):
        with pytest.raises(InvalidSetting, match="tiny has no chat template; pass a text instead"):
            call(codec_of())


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([], "empty conversation"),
        ("w1", "expected a list of messages"),
        (3, "expected a list of messages"),
        ([{"role": "user"}], "got the message"),
        ([{"content": "w1"}], "got the message"),
        ([{"role": "user", "content": None}], "got the message"),
        ([{"role": "user", "content": [{"type": "text", "text": "w1"}]}], "got the message"),
        ([USER_TURN, "w1"], "got the message"),
        ([USER_TURN, {"role": "user", "content": ""}], "empty last message"),
        ([{"role": "user", "content": "w1 \ud800"}], "UTF-8"),
    ],
)
def test_a_malformed_conversation_is_refused(messages, message):
    with pytest.raises(InvalidPrompt, match=message):
        check_conversation(messages)


def test_an_empty_system_message_has_no_turn():
    ids = codec_of(TEMPLATE).encode_prompt([{"role": "system", "content": ""}, USER_TURN])
    assert ids == [BOS, USER, 5, 6, EOS, ASSISTANT]


def test_the_fingerprint_is_a_hash_of_the_vocabulary_in_ascii_json():
    """Saved rewards hold it: it must not change."""
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(["é", "\x7f", "😀", '"'])
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    expected = hashlib.sha256(json.dumps(vocabulary).encode()).hexdigest()[:16]
    assert TokenizerCodec(tokenizer, "tiny", 64, [EOS]).fingerprint == expected


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("w1 w2", "w1 w2"),
        ([USER_TURN], "w1 w2"),
        (CONVERSATION, "system: w9\nuser: w1 w2\nassistant: w3\nuser: w4 w5"),
    ],
)
def test_a_prompt_as_text_is_its_text_its_message_or_a_line_per_turn(prompt, text):
    assert prompt_text(prompt) == text


def test_an_empty_prompt_and_one_that_fills_the_context_are_refused():
    codec = codec_of(TEMPLATE, context_length=8)
    with pytest.raises(InvalidPrompt, match="empty prompt"):
        codec.encode_prompt("")
    assert len(codec.encode_prompt(" ".join(["w1"] * 7))) == 7
    for prompt in (" ".join(["w1"] * 8), [{"role": "user", "content": "w1 w1 w1 w1"}]):
        with pytest.raises(InvalidPrompt, match=r"8 tokens, expected fewer than the context of 8.*starts 'w1 w1"):
            codec.encode_prompt(prompt)


def test_text_without_a_utf8_encoding_is_refused():
    for encode in (codec_of().encode_prompt, codec_of().encode_text):
        with pytest.raises(InvalidPrompt, match="UTF-8"):
            encode("w1 \ud800")


def test_decoding_leaves_special_tokens_out_and_one_token_shows_them():
    codec = codec_of()
    assert codec.decode([BOS, 5, 6, EOS]) == "w1 w2"
    assert codec.token_text(EOS) == "<eos>"


def test_the_fingerprint_is_a_hash_of_the_vocabulary_by_token_id():
    pairs = [[word, number] for number, word in enumerate(SPECIAL + WORDS)]
    assert codec_of().fingerprint == hashlib.sha256(json.dumps(pairs).encode()).hexdigest()[:16]


def test_every_end_token_of_the_configurations_ends_a_text():
    lm = chat_lm()
    lm.model.generation_config.eos_token_id = [7, 9]
    assert lm.codec.eos_token_ids == {7, 9, EOS}


def test_threads_encode_one_at_a_time(monkeypatch):
    """A fast tokenizer raises "Already borrowed" if two threads enter it at once."""
    codec, overlaps, inside = codec_of(), [], []
    encode = type(codec.tokenizer).__call__

    def watched(self, *arguments, **options):
        overlaps.append(len(inside))
        inside.append(1)
        time.sleep(0.002)
        found = encode(self, *arguments, **options)
        inside.pop()
        return found

    monkeypatch.setattr(type(codec.tokenizer), "__call__", watched)
    texts = [" ".join(f"w{(number + place) % 60}" for place in range(10)) for number in range(40)]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(codec.encode_text, texts))
    assert found == [[4 + int(word[1:]) for word in text.split()] for text in texts]
    assert set(overlaps) == {0}


def test_a_token_that_the_model_does_not_know_is_refused():
    """A tokenizer may have more tokens than its model, as Gemma 3's has; most texts do not use them."""
    codec = TokenizerCodec(tiny_tokenizer(), "tiny", 64, [EOS], vocabulary_size=9)
    known = codec.encode_prompt("w1 w2")
    assert max(known) < 9
    for encode in (codec.encode_prompt, codec.encode_text):
        with pytest.raises(InvalidPrompt, match="got text with the token 'w40', which tiny does not know"):
            encode("w1 w40")
