import io
import json
import pickle
from dataclasses import asdict

import pytest

from search_results import early_end, search_result, two_commits
from trimtab.data.json_text import dump_json
from trimtab.rewind.rewind_settings import RewindSettings

SMALL = RewindSettings(max_new_tokens=3, iterations=3, fresh_iterations=1, draft_tokens=2)


@pytest.fixture
def codec(llama):
    return llama.codec


def test_drafts_that_are_not_part_of_the_text_are_counted(codec):
    """Of the first commit: " so" and " awful" below it. " and helpful" is below the kept branch, so undecided."""
    assert search_result(codec, two_commits()).taken_back == 2


def test_a_search_that_a_budget_ended_gives_up_what_is_beside_its_best_draft(codec):
    assert search_result(codec, [early_end()], reason="budget").taken_back == 2


def test_the_dictionary_holds_the_text_and_every_commit(codec):
    result = search_result(codec, two_commits(), prompt="You are")
    found = result.as_dict()
    assert (found["prompt"], found["text"], found["finish_reason"]) == ("You are", " kind people.", "eos")
    assert (found["iterations"], found["taken_back"]) == (7, 2)
    assert found["commits"] == [asdict(commit) for commit in result.commits]


def test_the_representation_shows_text_reason_and_iterations(codec):
    result = search_result(codec, two_commits())
    assert repr(result) == "SearchResult(' kind people.', 'eos', iterations=7)"


def test_the_provenance_names_the_model_the_judge_the_settings_and_the_seed(lm, llama):
    first, second = lm.rewind(["w1", "w2"], lambda prompt, text: 0.5, settings=SMALL, seed=[3, 4], stop=["w9"])
    found = first.as_dict()["provenance"]
    assert found == first.provenance
    assert (found["base_fingerprint"], found["dtype"], found["device"]) == (llama.base_fingerprint, "float32", "cpu")
    assert {"trimtab", "torch", "transformers"} <= found.keys()
    assert found["judge"].keys() == {"judge", "function", "source_sha256"}
    assert (found["steer"], found["similarity"], found["stop"]) == ([], "lm", ["w9"])
    assert found["search"] == {name: value for name, value in asdict(SMALL).items() if name != "lookahead"}
    assert (found["seed"], second.provenance["seed"]) == (3, 4)
    assert json.loads(dump_json(first.as_dict()))["provenance"]["search"]["iterations"] == 3


def test_a_conversation_is_ready_for_json(lm, codec):
    result = search_result(codec, two_commits(), prompt=[{"role": "user", "content": "Hello"}])
    assert result.as_dict()["prompt"] == [{"role": "user", "content": "Hello"}]


def test_a_pickle_holds_the_search_without_the_model(lm, llama):
    result = lm.rewind("w1 w2", lambda prompt, text: 0.5, settings=SMALL, seed=0)
    pickled = pickle.dumps(result)
    weights = sum(tensor.numel() * tensor.element_size() for tensor in llama.model.state_dict().values())
    assert len(pickled) < weights / 2
    modules = set()

    class Recording(pickle.Unpickler):
        def find_class(self, module, name):
            modules.add(module.partition(".")[0])
            return super().find_class(module, name)

    again = Recording(io.BytesIO(pickled)).load()
    assert modules <= {"trimtab", "torch", "collections", "builtins"}
    assert again.as_dict() == result.as_dict()
    assert [token.text for token in again.trace] == [token.text for token in result.trace]
    assert again.trace[0].candidates == result.trace[0].candidates
