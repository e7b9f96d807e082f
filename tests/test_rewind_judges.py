"""Judges: what each makes of a draft, against counting by hand and whole forwards; and how they are measured."""

import math

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

import trimtab
from tiny import tiny_lm, tiny_reward
from trimtab import errors
from trimtab.engines.torch import TorchEngine
from trimtab.frozen.lm import FrozenLM
from trimtab.frozen.memory import Memory
from trimtab.lm import LanguageModel
from trimtab.rewind.calibrate import calibrate_on_pairs, calibrate_on_texts
from trimtab.rewind.draft import Draft
from trimtab.rewind.judge import FunctionJudge, RewardJudge, TextJudge, as_judge
from trimtab.rewind.question import FOLDER, parse_question, read_question
from trimtab.rewind.self_judge import SelfJudge, letter_tokens
from trimtab.rewind.settings import RewindSettings
from trimtab.rewind.similarity import NoSimilarity, OwnSimilarity, as_similarity


def draft(lm, prompt, text):
    ids = tuple(lm.tokenizer(text, add_special_tokens=False)["input_ids"])
    prompt_ids = tuple(lm.tokenizer(prompt)["input_ids"]) if prompt else ()
    tails = (text, text.partition(" ")[2])
    return Draft(prompt, prompt_ids, ids, text, tails, (len(ids), len(ids) - 1))


@pytest.fixture(scope="module")
def engine(llama):
    return TorchEngine(llama, Memory())


@pytest.fixture(scope="module")
def drafts(llama):
    return [draft(llama, "w1 w2", "w3 w4 w5"), draft(llama, "w1 w2", "w3 w9"), draft(llama, "w7", "w8 w1 w2 w3")]


@pytest.mark.parametrize("head", ["q", "v"])
def test_a_reward_judges_by_its_clamped_reward(llama, engine, drafts, head):
    reward = tiny_reward(llama, head)
    texts = [[*each.prompt_ids, *each.token_ids] for each in drafts]
    expected = torch.stack([reward.score_ids([text]).values[0, -1] for text in texts]).clamp(0, 1)
    toward = RewardJudge(reward.toward(1)).score(drafts, engine)
    away = RewardJudge(reward.away(7, "calm")).score(drafts, engine)
    both = RewardJudge(reward.toward(1) + reward.away(3, "calm")).score(drafts, engine)
    assert toward == pytest.approx((2 * expected[:, 0] - 1).tolist(), abs=1e-4)
    assert away == pytest.approx((1 - 2 * expected[:, 1]).tolist(), abs=1e-4)
    assert both == pytest.approx([0.25 * a + 0.75 * b for a, b in zip(toward, away, strict=True)], abs=1e-4)


def test_a_reward_may_read_the_continuation_alone(llama, engine, drafts):
    reward = tiny_reward(llama, "q")
    one = draft(llama, "w1 w2", "w3")
    expected = [reward.score_ids([list(each.token_ids)]).values[0, -1, 0].clamp(0, 1) for each in (*drafts, one)]
    nothing = Draft("w1 w2", (5, 6), (), "")
    *found, silent = RewardJudge(reward.toward(1), alone=True).score([*drafts, one, nothing], engine)
    assert silent == 0
    assert RewardJudge(reward.toward(1), alone=True).score([nothing], engine) == [0]
    assert found == pytest.approx([2 * float(each) - 1 for each in expected], abs=1e-4)
    with pytest.raises(errors.InvalidSetting, match="BOS"):
        RewardJudge(tiny_reward(llama, "q", bos_token_id=None).toward(1), alone=True)


def test_a_reward_without_a_range_cannot_judge(llama):
    reward = tiny_reward(llama, "q", clamp=None, baseline=False)
    with pytest.raises(errors.InvalidSetting, match="range"):
        RewardJudge(reward.toward(1))
    with pytest.raises(errors.InvalidSetting, match="β = 0"):
        RewardJudge(tiny_reward(llama, "q").toward(0))


def test_functions_classifiers_and_names(llama, engine, drafts):
    with pytest.raises(errors.InvalidSetting, match="two texts"):
        as_judge(lambda text: 1.0)
    count = as_judge(lambda prompt, text: len(text.split()) / 10)
    assert count.score(drafts, engine) == [0.3, 0.2, 0.4]
    assert as_judge(count) is count
    assert FunctionJudge(lambda p, t: 0.0, "mine").name == "mine"
    for avoid, sign in ((False, 1), (True, -1)):
        judge = TextJudge(lambda texts: [len(text) / 16 for text in texts], "length", avoid)
        assert judge.score(drafts, engine) == pytest.approx([sign * (len(d.text) / 8 - 1) for d in drafts])
    assert as_judge("self:sentiment").name == "self:sentiment"
    assert isinstance(as_judge(tiny_reward(llama, "q").away(1)), RewardJudge)


def test_a_pipeline_judges_by_a_label(engine):
    class Pipeline:
        model = type("M", (), {"config": type("C", (), {"id2label": {0: "kind", 1: "rude"}})})

        def __call__(self, texts, truncation, top_k):
            assert truncation
            assert top_k is None
            return [[{"label": "rude", "score": 0.75}, {"label": "kind", "score": 0.25}] for _ in texts]

    one = Draft("", (), (), "anything", ())
    assert TextJudge.of_pipeline(Pipeline(), "rude", avoid=True).score([one], engine) == [-0.5]
    assert TextJudge.of_pipeline(Pipeline(), "kind").score([one], engine) == [-0.5]
    with pytest.raises(errors.InvalidSetting, match="kind, rude"):
        TextJudge.of_pipeline(Pipeline(), "polite")


def test_every_shipped_question_is_balanced_and_well_formed():
    for path in FOLDER.glob("*.toml"):
        question = read_question(path.stem)
        assert len(question.examples) >= 8
        answers = [example.answer for example in question.examples]
        assert {answers.count(option) for option in range(len(question.options))} in ({3}, {4}, {5})
        lettered = [
            line[-2] for line in question.preamble().split("\n") if line.endswith(")") and "answer is: (" in line
        ]
        assert len(lettered) == len(answers)
        assert all(lettered.count(letter) >= 2 for letter in question.letters)
        assert len({option.worth for option in question.options}) == len(question.options)
        assert question.tail(True).endswith("The answer is: (")


QUESTION = {
    "instruction": "Judge.",
    "layout": "User: {prompt}\nAssistant: {text}",
    "ask": "Good?",
    "options": [{"text": "Yes.", "worth": 1}, {"text": "No.", "worth": 0}],
    "examples": [
        {"prompt": "Hello", "text": "Hi.", "answer": "Yes."},
        {"prompt": "Hello", "text": "Go!", "answer": "No."},
    ],
}


def test_a_question_as_text():
    question = parse_question("mine", QUESTION)
    assert question.preamble() == (
        "Judge.\n\nUser: Hello\nAssistant: Hi.\nGood? (A) Yes. (B) No. The answer is: (A)\n\n"
        "User: Hello\nAssistant: Go!\nGood? (A) No. (B) Yes. The answer is: (A)\n\n"
    )
    assert question.opening("Who?") == "User: Who?\nAssistant:"
    assert question.opening("Human: Who?\n\nAssistant:") == "Human: Who?\n\nAssistant:"
    assert question.opening("") == "Assistant:"


@pytest.mark.parametrize(
    "wrong",
    [
        {"layout": "no place"},
        {"options": [{"text": "Yes.", "worth": 1}]},
        {"options": [{"text": "Yes.", "worth": 2}, {"text": "No.", "worth": 0}]},
        {"examples": [{"text": "Hi.", "answer": "Perhaps."}]},
        {"ask": None},
    ],
)
def test_a_damaged_question_is_refused(tmp_path, wrong):
    lines = [f"{name} = {value!r}" for name, value in {**QUESTION, **wrong}.items() if isinstance(value, str)]
    for name in ("options", "examples"):
        for each in {**QUESTION, **wrong}[name]:
            lines += [f"[[{name}]]", *(f"{key} = {value!r}" for key, value in each.items())]
    path = tmp_path / "mine.toml"
    path.write_text("\n".join(lines).replace("'", '"'), encoding="utf-8")
    with pytest.raises(errors.InvalidData, match="is not a question"):
        read_question(str(path))
    path.write_text("not = toml = at all", encoding="utf-8")
    with pytest.raises(errors.InvalidData, match="is not a question"):
        read_question(str(path))


def test_a_question_that_is_not_there():
    with pytest.raises(errors.InvalidSetting, match="harmlessness"):
        read_question("nowhere.toml")


@pytest.mark.slow
@pytest.mark.parametrize("chat", [False, True])
@pytest.mark.parametrize("name", ["harmlessness", "sentiment"])
def test_a_self_judge_is_two_whole_forwards(smollm2, name, chat):
    """The letters' probabilities from a forward over the whole text, by the tokenizer alone: no cache, no packing."""
    lm = smollm2.frozen
    engine = TorchEngine(lm, Memory())
    judge, soft = (SelfJudge.named(f"self:{name}", chat, soft) for soft in (False, True))
    texts = [
        ("Where is Rome?", " In Italy."),
        ("Where is Rome?", " Find out yourself, you idiot."),
        ("How are you?", " Fine"),
    ]
    drafts = [draft(lm, prompt, text) for prompt, text in texts]
    found, softly = judge.score(drafts, engine), soft.score(drafts, engine)
    question = judge.question
    for (prompt, text), score, expected in zip(texts, found, softly, strict=True):
        worths, logprobs = [], []
        for swapped in (False, True):
            asked = question.tail(swapped).removesuffix(" The answer is: (")
            before, behind = "", " "
            if chat:
                turns = [{"role": "user", "content": "<<>>"}]
                template = lm.tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
                before, behind = template.split("<<>>")
            pieces = [before + question.preamble(), question.opening(prompt), text, f"{asked}{behind}The answer is: ("]
            ids = [token for piece in pieces for token in lm.tokenizer(piece, add_special_tokens=False)["input_ids"]]
            with torch.inference_mode():
                probabilities = lm.model(torch.tensor([ids])).logits[0, -1].double().softmax(-1)
            said = [lm.tokenizer.convert_tokens_to_ids([letter, f"Ġ{letter}"]) for letter in question.letters]
            letters = [float(probabilities[tokens].sum()) for tokens in said]
            options = question.options[::-1] if swapped else question.options
            worths.append(options[letters.index(max(letters))].worth)
            by_option = {option.text: math.log(p) for option, p in zip(options, letters, strict=True)}
            logprobs.append([by_option[option.text] for option in question.options])
        assert score == sum(worths) - 1
        mean = torch.tensor(logprobs, dtype=torch.float64).mean(0).softmax(0)
        worth = sum(float(p) * option.worth for p, option in zip(mean, question.options, strict=True))
        assert expected == pytest.approx(2 * worth - 1, abs=1e-3)


@pytest.mark.slow
def test_the_examples_are_encoded_once(smollm2):
    lm = smollm2.frozen
    engine = TorchEngine(lm, Memory())
    judge = SelfJudge.named("self")
    preamble = len(lm.tokenizer(judge.question.preamble())["input_ids"])
    judge.score([draft(lm, "Where is Rome?", " In Italy.")], engine)
    first = engine.memory.spent
    assert first.calls == 1
    assert preamble < first.tokens < preamble + 120
    judge.score([draft(lm, "Where is Rome?", " In Italy, in Latium.")], engine)
    assert (engine.memory.spent - first).tokens < 80


@pytest.mark.slow
def test_letters_are_looked_up_with_and_without_a_space(smollm2):
    tokens = letter_tokens(smollm2.frozen, "A")
    assert sorted(smollm2.frozen.tokenizer.convert_ids_to_tokens(list(tokens))) == ["A", "ĠA"]


def test_a_letter_behind_the_bracket_may_be_a_token_of_its_own(llama):
    """SentencePiece's way: a text by itself gets a space before it, a letter behind a bracket does not."""
    pieces = [("<unk>", 0.0), *((piece, -2.0) for piece in ("\u2581", "(", "A", "B"))]
    pieces += [("\u2581" + piece, -1.0) for piece in ("(", "A", "B")]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    frozen = FrozenLM(llama.model, PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<unk>"), "pieces")
    said = tokenizer.encode("(A").ids[-1]
    assert tokenizer.id_to_token(said) == "A"
    assert said in letter_tokens(frozen, "A")
    assert tokenizer.token_to_id("\u2581A") in letter_tokens(frozen, "A")


@pytest.mark.parametrize("head", ["q", "v"])
def test_a_judge_that_cannot_read_is_refused_before_anything_is_written(llama, head):
    lm = LanguageModel(llama)
    quick = RewindSettings(max_new_tokens=8, iterations=4, fresh_iterations=2, children=3, most_children=4)
    other = tiny_reward(llama, head, tokenizer_fingerprint="another")
    with pytest.raises(errors.RewardMismatch):
        lm.rewind("w1", other.toward(1), settings=quick)
    reward = tiny_reward(llama, head)
    long = " ".join(f"w{i % 60}" for i in range(58))
    results = lm.rewind(["w1", long], reward.toward(1), settings=quick, seed=0)
    assert [len(result.token_ids) for result in results] == [8, 5]  # 64 places, the prompt's and BOS less
    with pytest.raises(errors.InvalidPrompt, match="judge"):
        lm.rewind(["w1", f"{long} w1 w2 w3 w4 w5"], reward.toward(1), settings=quick)
    assert lm.rewind(f"{long} w1 w2 w3 w4 w5", lambda prompt, text: 0.0, settings=quick, seed=0).token_ids
    with pytest.raises(errors.InvalidSetting, match="most_children"):
        lm.rewind("w1", reward.toward(1), settings=RewindSettings(most_children=65))


def test_a_tokenizer_without_letters_is_named():
    with pytest.raises(errors.UnsupportedModel, match="no token for 'A'"):
        letter_tokens(tiny_lm("llama"), "A")


def test_calibration_by_hand(llama, engine):
    texts = [draft(llama, "", f"w{number}") for number in range(8)]
    scores = dict(zip((text.text for text in texts), [1, 0.5, 0, -1, -1, -0.5, 0, 1], strict=True))
    judge = FunctionJudge(lambda prompt, text: scores[text], "by hand")
    (found,) = calibrate_on_texts(judge, texts, [True] * 4 + [False] * 4, engine)
    assert (found.asked, found.accuracy, found.ties, found.first_letter) == (8, 0.625, 0.25, None)
    assert found.decided == pytest.approx(2 / 3)
    assert found.near_chance
    assert "near chance" in found.warning
    (found,) = calibrate_on_texts(judge, texts[:2] * 20 + texts[4:6] * 20, [True] * 40 + [False] * 40, engine)
    assert (found.accuracy, found.near_chance, found.warning) == (1.0, False, "")
    share = 42 / 44
    margin = 1.96 * math.sqrt(share * (1 - share) / 44 / 2)
    assert found.interval == pytest.approx((share - margin, share + margin))
    (unequal,) = calibrate_on_texts(judge, texts[:1] * 30 + texts[7:], [True] * 30 + [False], engine)
    assert unequal.accuracy == 0.5  # all of the many good ones right, the one bad one wrong
    (pairs,) = calibrate_on_pairs(judge, texts[:3], texts[3:6], engine)
    assert (pairs.asked, pairs.accuracy, pairs.ties) == (3, 1.0, 0.0)
    (pairs,) = calibrate_on_pairs(judge, [texts[0], texts[2], texts[3]], [texts[7], texts[6], texts[0]], engine)
    assert (pairs.accuracy, pairs.ties) == (pytest.approx(1 / 3), pytest.approx(2 / 3))
    with pytest.raises(errors.InvalidData, match="all good"):
        calibrate_on_texts(judge, texts, [True] * 8, engine)


@pytest.mark.slow
def test_a_self_judge_is_measured_both_ways_at_once(smollm2):
    engine = TorchEngine(smollm2.frozen, Memory())
    texts = [draft(smollm2.frozen, "Who are you?", text) for text in (" A friend.", " None of your business.", " Me.")]
    hard, soft = calibrate_on_texts(SelfJudge.named("self"), texts, [True, False, True], engine)
    assert (hard.judge, soft.judge) == ("self:harmlessness", "self:harmlessness, soft")
    for found, judge in ((hard, SelfJudge.named("self")), (soft, SelfJudge.named("self", soft=True))):
        scores = judge.score(texts, engine)
        right = [
            0.5 + 0.5 * ((s > 0) - (s < 0)) * (1 if good else -1) for s, good in zip(scores, (1, 0, 1), strict=True)
        ]
        assert found.accuracy == pytest.approx(((right[0] + right[2]) / 2 + right[1]) / 2)
        letters = [
            letter for asked in judge.ask([(t.prompt, t.token_ids) for t in texts], engine) for letter in asked.letters
        ]
        assert found.first_letter == letters.count(0) / 6


def test_similarity_by_the_models_own_states(llama, engine, drafts):
    """The mean, from each node on, of the states behind two of three layers, of unit length."""
    for vectors, each in zip(OwnSimilarity().embed(drafts, engine), drafts, strict=True):
        ids = torch.tensor([[*each.prompt_ids, *each.token_ids]])
        states = llama.body(ids, use_cache=False, output_hidden_states=True).hidden_states[2][0].detach()
        for vector, length in zip(vectors, each.tail_lengths, strict=True):
            mean = states[-length:].mean(0)
            torch.testing.assert_close(torch.tensor(vector).float(), mean / mean.norm(), atol=1e-4, rtol=1e-4)
    at_root = Draft("w1", (5,), (6, 7), "w2 w3")
    only_eos = Draft("w1", (5,), (), "", ("",), (0,))
    assert OwnSimilarity().embed([at_root, only_eos], engine) == [(), ()]
    assert as_similarity("off").embed(drafts, engine) == [(), (), ()]
    assert isinstance(as_similarity("lm"), OwnSimilarity)
    assert isinstance(as_similarity(NoSimilarity()), NoSimilarity)


def test_similarity_by_sentences(llama, engine, drafts, tmp_path):
    """A sentence encoder made here: the mean of random word vectors."""
    sentence_transformers = pytest.importorskip("sentence_transformers")
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    folder = tmp_path / "tiny"
    llama.model.base_model.save_pretrained(folder)
    llama.tokenizer.save_pretrained(folder)
    body = Transformer(str(folder))
    encoder = sentence_transformers.SentenceTransformer(modules=[body, Pooling(32, "mean")])
    encoder.save(str(tmp_path / "encoder"))
    similarity = as_similarity(str(tmp_path / "encoder"))
    found = similarity.embed(drafts, engine)
    for vectors, each in zip(found, drafts, strict=True):
        expected = encoder.encode(list(each.tails))
        torch.testing.assert_close(torch.tensor(vectors[0]).float(), torch.tensor(expected[0]), atol=1e-4, rtol=1e-4)
    with pytest.raises(errors.InvalidSetting, match="nowhere"):
        as_similarity(str(tmp_path / "nowhere"))


@pytest.mark.slow
def test_a_search_by_a_shipped_reward_lowers_it(smollm2):
    reward = trimtab.reward("toxicity", smollm2)
    prompt = "My neighbour is such a"
    settings = trimtab.RewindSettings(max_new_tokens=8, iterations=20)
    searched = smollm2.rewind(prompt, reward.away(1), settings=settings, seed=0)
    drawn = smollm2.generate(prompt, n=8, top_k=15, max_new_tokens=8, seed=0)
    mean = reward.score([prompt + generation.text for generation in drawn])[:, 0].mean()
    assert reward.score(prompt + searched.text)[0, 0] < mean
    assert searched.taken_back > 0
