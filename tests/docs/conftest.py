"""One model for all snippets, and how an output is compared with the one that a page shows.

Other processors round differently, which can change a token. So texts are compared word for word only where the model
itself, run by transformers alone, gives the bits that it gave when the pages were written; elsewhere only their shape.
"""

import functools
import re
from collections.abc import Callable, Iterator

import pytest
import torch

import trimtab
from trimtab.models.loading import load_frozen_lm

REFERENCE_LOGITS = (-8.714672088623047, 5.5508317947387695)


load_once = functools.cache(load_frozen_lm)


@pytest.fixture(scope="module")
def one_model() -> Iterator[trimtab.LanguageModel]:
    """Every `load("smollm2")` gives the same model, and every sum has the same order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        for home in ("trimtab.loading", "trimtab.models.loading"):  # what calls it from Python, and the commands
            patch.setattr(f"{home}.load_frozen_lm", lambda *args, codec=None, **named: load_once(*args, **named))
        yield trimtab.load("smollm2")
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def same_rounding(one_model) -> bool:
    """Whether this machine computes the logits that the machine of the pages computed, to the bit."""
    with torch.inference_mode():
        logits = one_model.model(torch.arange(1, 9)[None]).logits[0, -1, [10, 1000]].tolist()
    return tuple(logits) == REFERENCE_LOGITS


@pytest.fixture(scope="module")
def assert_shows(same_rounding) -> Callable[[str, str], None]:
    """Compare an output with the one that a page shows. A line `...` stands for any lines."""
    return functools.partial(compare, word_for_word=same_rounding)


def compare(actual: str, expected: str, word_for_word: bool) -> None:
    """Compare the words, or the number of lines alone."""
    lines = expected.rstrip("\n").split("\n")
    if word_for_word:
        pattern = r"\n".join(".*" if line == "..." else re.escape(line.rstrip()) for line in lines)
        given = "\n".join(line.rstrip() for line in actual.rstrip("\n").split("\n"))
        assert re.fullmatch(pattern, given, flags=re.S), f"got\n{actual}\nexpected\n{expected}"
    elif "..." not in lines:
        assert len(actual.rstrip("\n").split("\n")) == len(lines)
