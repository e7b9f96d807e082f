"""Data sets of the Hugging Face Hub or of a folder, with a time limit where the Hub cannot be reached."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

from trimtab.data.hub import ANSWER_SECONDS, LOOK_UP_SECONDS, is_offline


def load_dataset(source: str, split: str) -> Iterable[Mapping[str, Any]]:
    """Return the rows of a data set. Without the network, only what was downloaded before can be had.

    Args:
        source: a folder or a Hub id.
        split: the name of the split.

    Raises:
        ImportError: the package datasets is not installed.
        Exception: whatever datasets raises, if there is no such data set or split.
    """
    import datasets

    if Path(source).exists() or (not is_offline() and _hub_answers(source)):
        return datasets.load_dataset(source, split=split)
    with _offline():
        return datasets.load_dataset(source, split=split)


def _hub_answers(source: str) -> bool:
    """Ask for a data set; False if the Hub does not answer in LOOK_UP_SECONDS. Any answer will do, also a refusal."""
    answers: list[bool] = []
    thread = Thread(target=lambda: answers.append(_ask(source)), daemon=True)
    thread.start()
    thread.join(LOOK_UP_SECONDS)
    return bool(answers and answers[0])


def _ask(source: str) -> bool:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        HfApi().dataset_info(source, timeout=ANSWER_SECONDS)
    except (HfHubHTTPError, HFValidationError):
        return True
    except Exception:  # the classes depend on the versions of huggingface_hub and of its HTTP library
        return False
    return True


@contextmanager
def _offline() -> Iterator[None]:
    """Forbid the network to datasets and huggingface_hub, which read their variables when they are imported."""
    from datasets import config
    from huggingface_hub import constants

    before = config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE
    config.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE = before
