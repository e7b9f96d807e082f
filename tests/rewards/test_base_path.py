"""The base of a reward on a local model: both folders can move together."""

import shutil

import pytest

from tiny import save_lm, tiny_lm, tiny_reward
from trimtab import errors
from trimtab.models.loading import load_frozen_lm
from trimtab.rewards.base_path import earlier_place, find_base, published_base, recorded_base, shown_base
from trimtab.rewards.card import read_card
from trimtab.rewards.registry import load_reward


def test_a_local_base_is_recorded_relative_to_the_reward(tmp_path, monkeypatch):
    (tmp_path / "models" / "lm").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "models")
    for name in ("lm", "./lm", str(tmp_path / "models" / "lm")):
        assert recorded_base(name, tmp_path / "rewards" / "kind", "ab") == "../../models/lm"
    assert recorded_base("smollm2", tmp_path, "ab") == "smollm2"
    assert recorded_base("org/model", tmp_path, "ab") == "org/model"


def test_a_base_far_away_is_recorded_without_its_folders(tmp_path, monkeypatch):
    home = tmp_path / "home" / "alice"
    monkeypatch.setenv("HOME", str(home))
    for base, reward in [
        (home / "private/models/lm", tmp_path / "out/kind"),  # through the folder of all homes
        (home / "models/lm", home / "rewards/kind"),  # through the home folder
        (home / "work/a/b/c/lm", home / "work/kind"),  # too far down
        (home / "work/lm", home / "work/a/b/kind"),  # too far up
    ]:
        base.mkdir(parents=True)
        assert recorded_base(str(base), reward, "ab12") == "lm (weights ab12)"
    (home / "work/project/lm").mkdir(parents=True)
    assert recorded_base(str(home / "work/project/lm"), home / "work/project/kind", "ab12") == "../lm"
    assert recorded_base(str(tmp_path / "gone/lm"), tmp_path / "gone/kind", "ab12") == "lm (weights ab12)"
    assert recorded_base("lm (weights ab12)", tmp_path, "ab12") == "lm (weights ab12)"
    assert published_base(str(home / "work/project/lm"), "ab12") == "lm (weights ab12)"
    assert published_base("org/model", "ab12") == "org/model"


def test_people_read_a_placeholder_for_a_local_base():
    for name in ("../lm", "../../models/lm", "/home/alice/lm", "lm (weights ab12)"):
        assert shown_base(name) == "path/to/lm"
    assert shown_base("org/model") == "org/model"


@pytest.fixture
def private(tmp_path):
    """Return a language model loaded from a folder with a private name, and a reward on it."""
    folder = tmp_path / "alice" / "private" / "models" / "lm"
    lm = tiny_lm("llama")
    save_lm(lm, folder)
    loaded = load_frozen_lm(str(folder))
    return loaded, tiny_reward(loaded, "q")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_reward_that_does_not_say_where_its_base_is_takes_it_from_the_caller(private, tmp_path):
    lm, reward = private
    reward.save_pretrained(tmp_path / "far" / "away" / "kind")
    with pytest.raises(errors.RewardMismatch, match=r"'kind' does not say where its base lm \(weights \w+\) is; load"):
        load_reward(str(tmp_path / "far" / "away" / "kind"))
    assert load_reward(str(tmp_path / "far" / "away" / "kind"), lm).base is lm


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_base_that_was_converted_here_before_is_found_and_checked(private, tmp_path, monkeypatch):
    lm, reward = private
    reward.save_pretrained(tmp_path / "far" / "away" / "kind")
    monkeypatch.setenv("TRIMTAB_CACHE", str(tmp_path / "cache"))
    place = tmp_path / "cache" / "models" / "lm-0123456789ab"
    name = read_card(tmp_path / "far" / "away" / "kind").base
    for other in ("lm-2-0123456789ab", "lm", "lm-0123456789ag"):
        (place.parent / other).mkdir(parents=True)
        assert earlier_place(name) == name
    save_lm(tiny_lm("llama", seed=3), place)
    assert earlier_place(name) == str(place)
    with pytest.raises(errors.RewardMismatch, match="load the base that it was trained on"):
        load_reward(str(tmp_path / "far" / "away" / "kind"))
    save_lm(lm, place)
    found = load_reward(str(tmp_path / "far" / "away" / "kind"))
    assert (found.base.name, found.card.base) == (str(place), name)


def test_a_base_is_found_beside_its_reward_or_by_its_name(tmp_path):
    for name in ("lm", "kind"):
        (tmp_path / name).mkdir()
    assert find_base("../lm", tmp_path / "kind") == str(tmp_path / "kind" / "../lm")
    for name in ("../other", "smollm2", "org/model", str(tmp_path / "lm")):
        assert find_base(name, tmp_path / "kind") == name


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_reward_on_a_local_model_loads_from_another_folder(tmp_path, monkeypatch):
    lm = tiny_lm("llama")
    save_lm(lm, tmp_path / "here" / "lm")
    tiny_reward(lm, "v", base=str(tmp_path / "here" / "lm")).save_pretrained(tmp_path / "here" / "kind")
    shutil.move(tmp_path / "here", tmp_path / "there")
    monkeypatch.chdir("/")
    assert load_reward(str(tmp_path / "there" / "kind")).attributes == ("kind", "calm")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_error_of_a_base_that_is_gone_names_the_reward(tmp_path):
    lm = tiny_lm("llama")
    save_lm(lm, tmp_path / "lm")
    tiny_reward(lm, "v", base=str(tmp_path / "lm")).save_pretrained(tmp_path / "kind")
    shutil.rmtree(tmp_path / "lm")
    with pytest.raises(errors.ModelNotFound, match="the reward 'kind' needs its base: cannot load "):
        load_reward(str(tmp_path / "kind"))
