"""Self-evaluation: the letters' probabilities, counted by hand on an engine without a model, and on a real model."""

import math

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from drafts import draft_of
from fake_engine import CharacterCodec, FakeEngine
from tiny import tiny_lm
from trimtab.engines.torch.engine import TorchEngine
from trimtab.errors import InvalidPrompt, InvalidSetting, UnsupportedByEngine, UnsupportedModel
from trimtab.judges.base import description_of
from trimtab.judges.draft import Draft
from trimtab.judges.question import parse_question
from trimtab.judges.self_judge import SelfJudge, letter_tokens
from trimtab.models.frozen_lm import FrozenLM
from trimtab.models.prefix_cache import PrefixCache

QUESTION = parse_question(
    "colour",
    {
        "instruction": "Name it.",
        "layout": "Q: {prompt}\nA: {text}",
        "ask": "Which?",
        "options": [{"text": "Red.", "score": 1}, {"text": "Grey.", "score": 0.5}, {"text": "Blue.", "score": 0}],
    },
)


def likes(option):
    """A model that gives the letter of one option probability ½, and every other letter ¼."""

    def likelihood(prefix, letter):
        offered = prefix.rpartition("Which?")[2]
        return math.log(0.5 if f"({letter}) {option}" in offered else 0.25)

    return FakeEngine(likelihood)


def draft(text="It is."):
    return Draft("Why", (), tuple(map(ord, text)), text)


@pytest.mark.parametrize(("option", "score"), [("Red.", 1.0), ("Grey.", 0.5), ("Blue.", 0.0)])
def test_the_score_is_that_of_the_option_chosen_in_both_orders(option, score):
    assert SelfJudge(QUESTION).score([draft()], likes(option)) == [score]


def test_a_model_that_always_says_the_first_letter_scores_one_half():
    first = FakeEngine(lambda prefix, letter: math.log(0.9 if letter == "A" else 0.05))
    (evaluation,) = SelfJudge(QUESTION).evaluate([("Why", [])], first)
    assert evaluation.scores == (1.0, 0.0)
    assert evaluation.letters == (0, 0)
    assert SelfJudge(QUESTION).score([draft()], first) == [0.5]


def test_the_soft_score_is_the_expected_score_and_cancels_a_preference_for_a_letter():
    def likelihood(prefix, letter):
        offered = prefix.rpartition("Which?")[2]
        return (1.0 if f"({letter}) Red." in offered else 0.0) + (5.0 if letter == "A" else 0.0)

    odds = [math.exp(1.0 + 2.5), math.exp(0.0), math.exp(0.0 + 2.5)]  # "A" is Red first, then Blue: 5 / 2 each
    expected = sum(odd * score for odd, score in zip(odds, (1, 0.5, 0), strict=True)) / sum(odds)
    (found,) = SelfJudge(QUESTION, soft=True).score([draft()], FakeEngine(likelihood))
    assert found == pytest.approx(expected)
    unbiased = [math.exp(1.0), 1.0, 1.0]
    assert (odds[0] / odds[2]) == pytest.approx(unbiased[0] / unbiased[2])  # the preference cancelled


def test_each_draft_is_asked_about_in_both_orders_behind_the_examples():
    engine = likes("Red.")
    SelfJudge(QUESTION).score([draft("One."), draft("Two.")], engine)
    assert engine.asked == [
        f"Name it.\n\nQ: Why\nA:{text}\nWhich? {options} The answer is: ("
        for text in ("One.", "Two.")
        for options in ("(A) Red. (B) Grey. (C) Blue.", "(A) Blue. (B) Grey. (C) Red.")
    ]


def test_a_chat_question_is_asked_in_the_template_and_a_plain_one_behind_the_special_tokens():
    codec = CharacterCodec(template=("<user>", "<assistant>"), opening=[ord("^")])
    for chat, begins, before_answer in (
        (True, "<user>Name", "<assistant>The answer"),
        (False, "^Name", ". The answer"),
    ):
        engine = FakeEngine(likes("Red.").likelihood, codec)
        SelfJudge(QUESTION, chat=chat).score([draft()], engine)
        assert all(text.startswith(begins) and before_answer in text for text in engine.asked)


def test_a_model_without_a_chat_template_is_refused():
    with pytest.raises(InvalidSetting, match="characters has no chat template"):
        SelfJudge(QUESTION, chat=True).score([draft()], likes("Red."))


def test_the_room_is_the_context_minus_the_question():
    judge = SelfJudge(QUESTION)
    room = judge.room(CharacterCodec(context_length=300), "Why", ())
    engine = FakeEngine(likes("Red.").likelihood, CharacterCodec(context_length=300))
    assert judge.score([draft("x" * room)], engine) == [1.0]
    with pytest.raises(InvalidPrompt, match="expected fewer than 300"):
        judge.score([draft("x" * (room + 1))], engine)


def test_an_engine_that_scores_is_needed():
    with pytest.raises(InvalidSetting, match="got no engine"):
        SelfJudge(QUESTION).score([draft()], None)
    with pytest.raises(UnsupportedByEngine, match="score"):
        SelfJudge(QUESTION).score([draft()], FakeEngine(lambda prefix, text: 0.0, capabilities=()))


def test_names_state_the_question_and_the_settings():
    assert SelfJudge.from_text("self").name == "self:harmlessness"
    assert SelfJudge.from_text("self:sentiment", chat=True, soft=True).name == "self:sentiment, chat, soft"


def test_a_letter_behind_the_bracket_may_be_a_token_of_its_own(llama):
    """SentencePiece puts a space before a text that stands alone, and none before a letter behind a bracket."""
    pieces = [("<unk>", 0.0), *((piece, -2.0) for piece in ("\u2581", "(", "A", "B"))]
    pieces += [("\u2581" + piece, -1.0) for piece in ("(", "A", "B")]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    frozen = FrozenLM(llama.model, PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<unk>"), "pieces")
    behind = tokenizer.encode("(A").ids[-1]
    assert tokenizer.id_to_token(behind) == "A"
    assert set(letter_tokens(frozen.codec, "A")) == {behind, tokenizer.token_to_id("\u2581A")}


def test_a_tokenizer_without_letters_is_refused():
    with pytest.raises(UnsupportedModel, match="no token for 'A'"):
        letter_tokens(tiny_lm("llama").codec, "A")


@pytest.mark.slow
def test_smollm2_has_a_letter_with_and_without_a_space(smollm2):
    tokens = letter_tokens(smollm2.engine.codec, "A")
    assert sorted(smollm2.tokenizer.convert_ids_to_tokens(list(tokens))) == ["A", "ĠA"]


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize(("name", "chat"), [("harmlessness", False), ("sentiment", True)])
def test_the_scores_equal_two_whole_forwards(smollm2, name, chat):
    """Each letter's probability from one forward over the whole text: no codec, no cache, no packing."""
    engine = TorchEngine(smollm2.base, PrefixCache())
    judge, soft = (SelfJudge.from_text(f"self:{name}", chat, soft) for soft in (False, True))
    texts = [("Where is Rome?", " In Italy."), ("Where is Rome?", " Find out yourself, you idiot.")]
    drafts = [draft_of(engine.codec, prompt, text) for prompt, text in texts]
    found, softly = judge.score(drafts, engine), soft.score(drafts, engine)
    for (prompt, text), score, expected in zip(texts, found, softly, strict=True):
        by_order = [
            letter_probabilities(smollm2, judge.question, prompt, text, swapped, chat) for swapped in (False, True)
        ]
        options = judge.question.options
        chosen = [max(of_order, key=of_order.get).score for of_order in by_order]
        assert score == sum(chosen) / 2
        mean = torch.tensor(
            [[math.log(of_order[option]) for option in options] for of_order in by_order], dtype=torch.float64
        ).mean(0)
        mean_score = sum(float(p) * option.score for p, option in zip(mean.softmax(0), options, strict=True))
        assert expected == pytest.approx(mean_score, abs=5e-4)


def letter_probabilities(lm, question, prompt, text, swapped, chat):
    """The probability of each option's letter, with and without a space before it."""
    asked = question.tail(swapped).removesuffix(" The answer is: (")
    before, behind = "", " "
    if chat:
        turns = [{"role": "user", "content": "<<>>"}]
        template = lm.tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
        before, behind = template.split("<<>>")
    pieces = [before + question.preamble(), question.opening(prompt), text, f"{asked}{behind}The answer is: ("]
    ids = [token for piece in pieces for token in lm.tokenizer(piece, add_special_tokens=False)["input_ids"]]
    with torch.inference_mode():
        probabilities = lm.model(torch.tensor([ids]), logits_to_keep=1).logits[0, -1].double().softmax(-1)
    letters = [lm.tokenizer.convert_tokens_to_ids([letter, f"Ġ{letter}"]) for letter in question.letters]
    offered = question.options[::-1] if swapped else question.options
    return {option: float(probabilities[tokens].sum()) for option, tokens in zip(offered, letters, strict=True)}


@pytest.mark.long
@pytest.mark.slow
def test_the_examples_are_encoded_once(smollm2):
    engine = TorchEngine(smollm2.base, PrefixCache())
    judge = SelfJudge.from_text("self")
    preamble = len(engine.codec.encode_text(judge.question.preamble()))
    judge.score([draft_of(engine.codec, "Where is Rome?", " In Italy.")], engine)
    first = engine.usage
    assert first.calls == 1
    assert preamble < first.tokens < preamble + 120
    judge.score([draft_of(engine.codec, "Where is Rome?", " In Italy, in Latium.")], engine)
    assert (engine.usage - first).tokens < 80


def test_the_description_holds_a_hash_of_the_question():
    plain, soft = (SelfJudge.from_text("self", soft=soft) for soft in (False, True))
    assert description_of(plain) == {"judge": "self:harmlessness", "question_sha256": plain.question.digest}
    assert description_of(soft)["judge"] == "self:harmlessness, soft"
