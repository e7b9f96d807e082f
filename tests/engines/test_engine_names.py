import subprocess
import sys

import pytest

from trimtab.engines import engine_names
from trimtab.engines.engine_names import check_engine, check_engine_steers
from trimtab.errors import InvalidSetting, UnsupportedByEngine
from trimtab.rewards.registry import bundled_rewards


def test_the_torch_engine_has_everything():
    check_engine("torch", batch_invariant=True, speculate="lookup")
    check_engine_steers("torch", [None, *bundled_rewards().values()])


@pytest.mark.parametrize(
    ("engine", "settings", "message"),
    [
        ("tgi", {}, "got engine='tgi', expected torch or vllm"),
        ("vllm", {"batch_invariant": True}, "batch_invariant"),
        ("vllm", {"speculate": "lookup"}, "speculate='lookup'"),
    ],
)
def test_what_an_engine_lacks_is_refused(engine, settings, message):
    with pytest.raises(InvalidSetting, match=message):
        check_engine(engine, **settings)


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setattr(engine_names, "find_spec", lambda name: None)
    with pytest.raises(InvalidSetting, match=r"pip install 'trimtab\[vllm\]'"):
        check_engine("vllm")


def test_cards_tell_which_rewards_an_engine_steers_by():
    cards = bundled_rewards()
    check_engine_steers("vllm", [cards["sentiment"], cards["sentiment-own"], cards["toxicity-lora"]])
    with pytest.raises(UnsupportedByEngine, match="RAD"):
        check_engine_steers("vllm", [cards["sentiment-rad"]])
    with pytest.raises(UnsupportedByEngine, match="experts"):
        check_engine_steers("vllm", [None])


def test_the_names_import_no_torch():
    code = "import sys, trimtab.engines.engine_names; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
