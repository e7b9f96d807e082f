"""`adapt`: a reward for any model from a teacher of texts, from texts given or written by the model."""

import json
from dataclasses import replace

import pytest

from byte_lm import byte_lm
from good_words import good_words
from tiny import tiny_lm, tiny_reward
from tiny_chat import chat_lm as tiny_chat_lm
from trimtab import errors
from trimtab.judges.text_judges import TextJudge
from trimtab.rewards.registry import load_reward
from trimtab.training import AdaptSettings, ClassifierTeacher, LabelledText, RunFolder, RunOptions, adapt
from trimtab.training.adaptation import answering, in_parts
from trimtab.training.callbacks import TrainingProgress
from trimtab.training.own_texts import openings, write_own_texts

SETTINGS = AdaptSettings(texts=40, tokens=8, candidates=4, positions=2, epochs=12, bf16=False)
GIVEN = [row.text for row in good_words(100)]


class Listener(TrainingProgress):
    """Notes what a run reports, and stops it after so many texts of the teacher's."""

    def __init__(self, stop_after: int | None = None):
        self.stop_after, self.written, self.estimates, self.taught = stop_after, [], [], []

    def writing(self, done, total):
        self.written.append((done, total))

    def estimated(self, estimate):
        self.estimates.append(dict(estimate))

    def teaching(self, done, total):
        self.taught.append((done, total))
        if self.stop_after is not None and done >= self.stop_after:
            raise KeyboardInterrupt


class Impatient(TrainingProgress):
    """Stops a run when it hears how long it will take."""

    def estimated(self, estimate):
        raise KeyboardInterrupt


def lines_of(path):
    return path.read_text(encoding="utf-8").rstrip("\n").split("\n")


@pytest.fixture
def judge():
    def share_of_good(texts):
        return [sum(len(word) < 3 for word in text.split()) / max(len(text.split()), 1) for text in texts]

    return TextJudge("counts", share_of_good, about={"label": "good"})


@pytest.fixture(scope="module")
def base():
    return byte_lm("llama", merges=[("e", "Ġ"), ("Ġ", "t"), ("i", "n")], seed=3)


@pytest.mark.long
def test_a_reward_from_given_texts_agrees_with_its_teacher(judge):
    settings = AdaptSettings(texts=100, tokens=8, candidates=6, positions=3, epochs=20, bf16=False)
    student = adapt(tiny_lm("llama", seed=3), ClassifierTeacher(judge), GIVEN, settings)
    quality = student.card.quality
    assert quality["agreement_over_prefixes:good"] > 0.8
    assert quality["agreement_over_candidates:good"] > 0.6
    assert student.card.trunk == "ladder"
    assert quality["texts"] == 10


def test_a_model_without_data_writes_texts_of_its_own_and_an_interrupted_run_resumes(base, judge, tmp_path):
    teacher = ClassifierTeacher(judge)
    settings = AdaptSettings(texts=40, tokens=40, candidates=4, positions=1, epochs=1, bf16=False)
    run, first = RunFolder(tmp_path / "run"), Listener(stop_after=32)
    with pytest.raises(KeyboardInterrupt):
        adapt(base, teacher, None, settings, RunOptions(run, first))
    assert first.written[-1] == (40, 40)
    assert [set(each) for each in first.estimates] == [{"own texts", "teacher", "training", "measuring"}]
    kept = (run.path / "texts" / "texts.jsonl").read_text(encoding="utf-8")
    shard = run.path / "targets" / "000000.safetensors"
    scored = shard.read_bytes()
    again = Listener()
    student = adapt(base, teacher, None, settings, RunOptions(run, again, "mine"))
    assert again.written == [(40, 40)]
    assert (run.path / "texts" / "texts.jsonl").read_text(encoding="utf-8") == kept
    assert shard.read_bytes() == scored
    student.save_pretrained(tmp_path / "mine")
    assert load_reward(tmp_path / "mine", base).card.attributes == ("good",)


def test_settings_may_change_until_texts_are_scored(base, judge, tmp_path):
    """So may one who finds the estimate too long."""
    run, many = RunFolder(tmp_path / "run"), AdaptSettings(texts=40, tokens=40, candidates=4, positions=1, bf16=False)
    few = replace(many, texts=20, epochs=1.0)
    with pytest.raises(KeyboardInterrupt):
        adapt(base, ClassifierTeacher(judge), None, many, RunOptions(run, Impatient()))
    (run.path / "targets").mkdir()
    (run.path / "targets" / "targets.json").write_text("{}", encoding="utf-8")  # of scores that never came
    adapt(base, ClassifierTeacher(judge), None, few, RunOptions(run))
    with pytest.raises(errors.InvalidData, match="texts: 20 there, 40 here"):
        adapt(base, ClassifierTeacher(judge), None, many, RunOptions(run))


def test_files_of_others_are_never_removed(base, judge, tmp_path):
    run = RunFolder(tmp_path / "run")
    (run.path / "targets").mkdir(parents=True)
    (run.path / "targets" / "mine.csv").write_text("mine", encoding="utf-8")
    settings = AdaptSettings(texts=20, tokens=40, candidates=4, positions=1, epochs=1, bf16=False)
    with pytest.raises(errors.InvalidData, match="expected a new or empty folder"):
        adapt(base, ClassifierTeacher(judge), None, settings, RunOptions(run))
    assert (run.path / "targets" / "mine.csv").read_text(encoding="utf-8") == "mine"


def test_a_wrong_command_does_not_lock_a_folder_that_has_no_record_of_its_settings(base, judge, tmp_path):
    settings = AdaptSettings(texts=40, tokens=40, candidates=4, positions=1, epochs=1, bf16=False)
    run = RunFolder(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        adapt(base, ClassifierTeacher(judge), None, settings, RunOptions(run, Listener(stop_after=32)))
    (run.path / "adapt.json").unlink()  # as an earlier version leaves it
    with pytest.raises(errors.InvalidData, match="candidates: 4 there, 5 here"):
        adapt(base, ClassifierTeacher(judge), None, replace(settings, candidates=5), RunOptions(run))
    adapt(base, ClassifierTeacher(judge), None, settings, RunOptions(run))


def test_the_estimate_asks_the_teacher_about_texts_of_the_run_alone(base, tmp_path):
    """A teacher may refuse what the model never writes."""
    asked = []
    judge = TextJudge("length", lambda texts: [asked.append(text) or len(text) % 2 for text in texts], about={})
    settings = AdaptSettings(texts=20, tokens=40, candidates=4, positions=1, epochs=1, bf16=False)
    run = RunFolder(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        adapt(base, ClassifierTeacher(judge), None, settings, RunOptions(run, Impatient()))
    texts = [row["text"] for row in map(json.loads, lines_of(run.path / "texts" / "texts.jsonl"))]
    beginnings = {text[:length] for text in texts for length in range(len(text) + 1)}
    assert asked
    assert all(
        any(part[:length] in beginnings for length in (len(part), len(part) - 1, len(part) - 2)) for part in asked
    )


def test_own_texts_begin_with_the_openings_and_depend_on_the_seed_alone(base, tmp_path):
    """A folder with some of them goes on; the batch they are written in does not matter."""
    texts = write_own_texts(base, 20, 40, 0)
    assert all(text.startswith(opening) for text, opening in zip(texts, openings(), strict=False))
    assert len(set(texts)) == 20
    assert write_own_texts(base, 5, 40, 0, tmp_path / "texts") == texts[:5]
    with (tmp_path / "texts" / "texts.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"text": "torn')
    assert write_own_texts(base, 20, 40, 0, tmp_path / "texts") == texts
    with pytest.raises(errors.InvalidData, match="seed: 0 there, 1 here"):
        write_own_texts(base, 20, 40, 1, tmp_path / "texts")


def test_held_out_texts_begin_with_other_openings(base, tmp_path):
    rows = [LabelledText(text) for text in write_own_texts(base, 60, 40, 0)]
    train, held_out = in_parts(rows, own=True)
    assert len(held_out) == 6
    assert sorted(map(id, train + held_out)) == sorted(map(id, rows))
    of_train, of_held_out = (
        {next(o for o in openings() if row.text.startswith(o)) for row in of} for of in (train, held_out)
    )
    assert not of_train & of_held_out
    given_train, given_held_out = in_parts(rows, own=False)
    assert [*given_held_out, *given_train] == rows


def test_a_damaged_file_of_texts_is_refused(base, tmp_path):
    write_own_texts(base, 2, 40, 0, tmp_path / "texts")
    (tmp_path / "texts" / "texts.jsonl").write_text(json.dumps({"prompt": "x"}) + "\n", encoding="utf-8")
    with pytest.raises(errors.InvalidData, match="remove the file"):
        write_own_texts(base, 2, 40, 0, tmp_path / "texts")


def test_openings_are_short_different_lines():
    found = openings()
    assert len(found) == len(set(found)) >= 40
    assert all(opening == opening.strip() and 0 < len(opening) < 60 for opening in found)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("texts", 3, "got texts=3, expected at least 20"),
        ("tokens", 1, "got tokens=1, expected at least 2"),
        ("tokens", 5000, "got tokens=5000, expected at most 4096"),
        ("candidates", 2, "expected at least 3"),
        ("positions", 0, "expected at least 1"),
        ("epochs", 0.0, "got epochs=0.0"),
        ("ladder_heads", 0, "got ladder_heads=0, expected 1 to 64"),
        ("seed", -1, "got seed=-1"),
    ],
)
def test_settings_out_of_range_are_refused(name, value, message):
    with pytest.raises(errors.InvalidSetting, match=message):
        AdaptSettings(**{name: value})


def test_what_adapt_cannot_use_is_refused(base, judge):
    teacher = ClassifierTeacher(judge)
    with pytest.raises(errors.InvalidData, match="got 2 different texts, expected at least 4"):
        adapt(base, teacher, GIVEN[:2], SETTINGS)
    with pytest.raises(errors.InvalidSetting, match="expected fewer than the model's 64"):
        adapt(base, teacher, GIVEN, AdaptSettings(tokens=64))
    with pytest.raises(errors.InvalidSetting, match="expected a reward with a V-head"):
        adapt(base, tiny_reward(tiny_lm("llama"), "q"), GIVEN, SETTINGS)
    with pytest.raises(errors.RewardNotFound):
        adapt(base, "no-such-reward", GIVEN, SETTINGS)


def test_every_second_text_is_learned_as_an_answer(judge):
    """The student of a chat agrees with its teacher on answers, too, and its card counts them."""
    lm = tiny_chat_lm()
    settings = AdaptSettings(texts=100, tokens=8, candidates=6, positions=3, epochs=20, bf16=False, chat=True)
    student = adapt(lm, ClassifierTeacher(judge), GIVEN, settings)
    assert student.card.provenance["answers_to_messages"] == 45
    assert student.card.quality["agreement_over_prefixes:good"] > 0.8
    rows = answering(["a", "b", "c", "d"])
    assert [row.message for row in rows] == ["", openings()[0], "", openings()[1]]
    with pytest.raises(errors.InvalidSetting, match="chat template"):
        adapt(tiny_lm("llama"), ClassifierTeacher(judge), GIVEN, settings)
    with pytest.raises(errors.InvalidSetting, match="of the model's own tokenizer"):
        adapt(lm, tiny_reward(lm, "v"), GIVEN, settings)


@pytest.mark.parametrize(("hidden", "width"), [(576, 192), (640, 192), (1536, 256), (4096, 512)])
def test_a_ladder_is_scaled_to_its_model(hidden, width):
    recipe = AdaptSettings().recipe(30, hidden, True)
    assert (recipe.ladder_layers, recipe.ladder_width, recipe.keep_states) == (10, width, True)
    assert AdaptSettings().recipe(3, hidden, False).ladder_layers == 2
    assert AdaptSettings(ladder_heads=2).recipe(30, hidden, True).ladder_width == 128
