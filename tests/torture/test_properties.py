"""Whatever a user types or passes is accepted, or refused by an error of ours."""

import dataclasses
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import trimtab
from torture import strategies
from trimtab.cli.app import app
from trimtab.data.jsonlines import read_lines
from trimtab.errors import InvalidSetting, TrimtabError
from trimtab.evaluation.run.sweep_settings import Grid, ScoringOptions, SweepSettings
from trimtab.judges import as_judge, load_judge
from trimtab.rewards import RewardCard, load_steers
from trimtab.steering import parse_steer
from trimtab.training import DistilSettings, LabelSettings, PairSettings, Recipe, read_labelled, read_pairs

SETTINGS = [
    trimtab.SamplingParams,
    trimtab.RewindSettings,
    trimtab.Budget,
    Recipe,
    LabelSettings,
    PairSettings,
    DistilSettings,
    Grid,
    SweepSettings,
    ScoringOptions,
]
# The shortest command line of each command, with names that are not there: what is left to refuse is the options.
COMMANDS = {
    "generate": ["generate", "w1", "--model", "nowhere"],
    "rewind": ["rewind", "search", "w1", "--model", "nowhere"],
    "calibrate": ["rewind", "calibrate", "--data", "nowhere.jsonl", "--model", "nowhere"],
    "score": ["score", "--reward", "nowhere", "--text", "w1"],
    "measure": ["rewards", "measure", "nowhere", "--data", "nowhere.jsonl"],
    "labels": ["train", "labels", "--data", "nowhere.jsonl", "--out", "out", "--base", "nowhere"],
    "pairs": ["train", "pairs", "--data", "nowhere.jsonl", "--out", "out", "--base", "nowhere"],
    "genarm": ["train", "genarm", "--data", "nowhere.jsonl", "--out", "out", "--base", "nowhere"],
    "expert": ["train", "expert", "--data", "nowhere.jsonl", "--out", "out", "--base", "nowhere"],
    "datastore": ["train", "datastore", "--data", "nowhere.jsonl", "--out", "out", "--base", "nowhere"],
    "distil": [
        "train",
        "distil",
        "--data",
        "nowhere.jsonl",
        "--out",
        "out",
        "--base",
        "nowhere",
        "--teacher",
        "nowhere",
    ],
    "adapt": ["adapt", "nowhere", "--model", "nowhere", "--out", "out"],
    "evaluate": [
        "evaluate",
        "prompts",
        "--up",
        "nowhere.jsonl",
        "--judge",
        "vader",
        "--model",
        "nowhere",
        "--out",
        "out",
    ],
    "preference": ["evaluate", "preference", "--data", "nowhere.jsonl", "--reward", "nowhere"],
    "judges": ["evaluate", "judges", "--data", "nowhere.jsonl", "--judge", "nobody"],
    "report": ["evaluate", "report", "nowhere"],
    "spectrum": ["spectrum", "nowhere", "--data", "nowhere.jsonl"],
    "rad": ["import", "rad", "nowhere.bin", "--attributes", "a", "--out", "out", "--base", "nowhere"],
}
bounded = settings(
    max_examples=25,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def ours(call):
    """Call, and let errors of ours pass."""
    try:
        return call()
    except TrimtabError as error:
        said = str(error)
    assert "\n" not in said
    return None


def options_of(words):
    """The options with a value of a command."""
    command = app_command(words)
    return [
        each.opts[0] for each in command.params if each.opts[0].startswith("--") and not getattr(each, "is_flag", 0)
    ]


def app_command(words):
    """The click command of a command line."""
    import typer

    command = typer.main.get_command(app)
    for word in words:
        if not hasattr(command, "commands") or word not in command.commands:
            break
        command = command.commands[word]
    return command


@pytest.mark.parametrize("kind", SETTINGS, ids=lambda kind: kind.__name__)
@bounded
@given(data=st.data())
def test_settings_take_any_value_or_refuse_it(kind, data):
    names = [field.name for field in dataclasses.fields(kind)]
    drawn = data.draw(st.dictionaries(st.sampled_from(names), strategies.values, min_size=1, max_size=2))
    made = ours(lambda: kind(**drawn))
    assert made is None or dataclasses.asdict(made)


@pytest.mark.parametrize("name", COMMANDS)
@settings(bounded, max_examples=8)
@given(data=st.data())
def test_options_take_any_text_or_refuse_it(name, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = COMMANDS[name]
    option = data.draw(st.sampled_from(options_of(words)))
    done = CliRunner().invoke(app, [*words, option, data.draw(strategies.texts)])
    assert done.exit_code in (1, 2), "nothing of what is named exists"
    assert isinstance(done.exception, SystemExit | TrimtabError | OSError), repr(done.exception)
    assert list(tmp_path.iterdir()) == []


@bounded
@given(text=strategies.steer_texts)
def test_steers_as_text(text):
    ours(lambda: parse_steer(text))
    ours(lambda: load_steers([text]))


@bounded
@given(text=strategies.texts)
def test_judges_as_text(text):
    with pytest.raises(TrimtabError):  # no drawn text names a judge
        load_judge(text)
    ours(lambda: as_judge(text))


@bounded
@given(content=st.one_of(st.binary(max_size=200), st.lists(strategies.rows, max_size=4)))
def test_files_of_rows(content, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content if isinstance(content, bytes) else b"\n".join(json.dumps(row).encode() for row in content))
    for line in ours(lambda: list(read_lines(path))) or []:
        assert (line.row is None) != (line.fault is None)
    ours(lambda: read_labelled(str(path), ["label"]))
    ours(lambda: read_pairs(str(path)))


@bounded
@given(content=st.binary(max_size=200))
def test_tables_of_bytes(content, tmp_path):
    for suffix in (".csv", ".tsv", ".jsonl.gz"):
        path = tmp_path / f"table{suffix}"
        path.write_bytes(content)
        ours(lambda path=path: read_labelled(str(path), ["label"]))


@bounded
@given(value=strategies.json_values, name=st.sampled_from([field.name for field in dataclasses.fields(RewardCard)]))
def test_cards_with_any_value(value, name):
    card = RewardCard("lm", "0" * 16, "1" * 16, 2, "q", ("kind",))
    text = json.dumps({**json.loads(card.to_json()), name: value})
    ours(lambda: RewardCard.from_json(text))


@bounded
@given(value=strategies.values, name=st.sampled_from(["seed", "top_k", "top_p", "temperature", "stop"]))
def test_the_face(lm, value, name):
    """Prompts and steers are checked behind the type checks of the tests: `torture.tables.calls_single` draws those."""
    ours(lambda: lm.generate("w1", max_new_tokens=1, **{name: value}))


def test_an_error_that_is_not_ours_is_seen():
    with pytest.raises(KeyError):
        ours(lambda: {}["missing"])
    assert ours(lambda: trimtab.SamplingParams(n=0)) is None
    assert issubclass(InvalidSetting, TrimtabError)
