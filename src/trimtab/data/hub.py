"""Fetch models and rewards from the Hugging Face Hub: the one place for its time limits and its offline switch."""

import difflib
import os
import textwrap
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from threading import Thread
from typing import final

OFFLINE_VARIABLES = ("TRIMTAB_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
OFF = ("", "0", "false", "no", "off")
ANSWER_SECONDS = 4.0  # to connect, and again to answer
LOOK_UP_SECONDS = 7.0  # in all: a name server may not answer either
SILENT_SECONDS = 60.0  # how long a Hub that could not be reached is not asked again
REASON_WIDTH = 200  # characters
IGNORED = ("*/*", "consolidated*")  # subfolders, and weights in the format of other libraries


class HubFault(Exception):
    """A repository that the Hub does not give; the message says why."""


@final
class _Silence:
    """Until when the Hub is not asked again, and why."""

    until = 0.0
    reason = ""


def is_offline() -> str:
    """Return the environment variable that forbids the network; "" if none does."""
    return next((name for name in OFFLINE_VARIABLES if os.environ.get(name, "").strip().lower() not in OFF), "")


def fetch(name: str, patterns: Sequence[str], again: bool = False) -> Path:
    """Return a local folder with files of a Hub repository. Files that are not there yet are downloaded.

    A Hub that does not answer within LOOK_UP_SECONDS counts as unreachable: then, and offline, only what was downloaded
    before can be had.

    Args:
        name: the Hub id.
        patterns: names of files at the top of the repository, with `*` for any letters.
        again: download files that are there, too, because one of them is damaged.

    Raises:
        HubFault: no Hub id, no such repository, or it cannot be reached and was not downloaded before.
    """
    check_hub_id(name)
    from huggingface_hub import snapshot_download

    variable = is_offline()
    fault = f"{variable} forbids the network, and it was not downloaded before" if variable else _look_up(name)
    try:
        folder = snapshot_download(
            name,
            allow_patterns=list(patterns),
            ignore_patterns=list(IGNORED),
            local_files_only=bool(fault),
            force_download=again and not fault,
        )
    except Exception as error:  # the classes depend on the versions of huggingface_hub and of its HTTP library
        raise HubFault(fault or reason_of(error)) from error
    return Path(folder)


def check_hub_id(name: str) -> None:
    """Refuse a name that no repository on the Hub can have, without asking the Hub.

    Raises:
        HubFault: it has other characters, or more than one slash.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise HubFault("no such file or folder, and no Hub id: those look like OWNER/NAME") from error


def suggestion(name: str, known: Collection[str]) -> str:
    """Return "; did you mean 'smollm2'?" for a name close to a known one, else ""."""
    close = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.75)
    return f"; did you mean {close[0]!r}?" if close else ""


def reason_of(error: BaseException) -> str:
    """Return an exception as one line of whole words."""
    text = " ".join(str(error).split()) or type(error).__name__
    return textwrap.shorten(text, REASON_WIDTH, placeholder=" …")


def why_refused(ask: Callable[[], object]) -> str:
    """Ask the Hub within LOOK_UP_SECONDS; returns why it refuses or cannot be reached, "" if it answers.

    A Hub that could not be reached is not asked again for SILENT_SECONDS.

    Args:
        ask: calls huggingface_hub.
    """
    if time.monotonic() < _Silence.until:
        return _Silence.reason
    answers: list[tuple[str, bool]] = []
    thread = Thread(target=lambda: answers.append(_refusal(ask)), daemon=True)
    thread.start()
    thread.join(LOOK_UP_SECONDS)
    reason, reached = answers[0] if answers else ("it does not answer", False)
    return reason if reached else _silent(reason)


def _look_up(name: str) -> str:
    """Ask for a repository; returns why it cannot be had, "" if it can."""
    from huggingface_hub import HfApi

    return why_refused(lambda: HfApi().model_info(name, timeout=ANSWER_SECONDS))


def _refusal(ask: Callable[[], object]) -> tuple[str, bool]:
    """Why the Hub refuses, "" if it does not; and whether it was reached."""
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

    try:
        ask()
    except RepositoryNotFoundError:
        return "the Hub has no such repository, or it is private: then log in with `hf auth login`", True
    except HfHubHTTPError as error:
        return reason_of(error), True
    except Exception as error:  # as in fetch
        return reason_of(error), False
    return "", True


def _silent(why: str) -> str:
    from huggingface_hub.constants import ENDPOINT

    _Silence.reason = f"cannot reach {ENDPOINT}: {why}; if this machine is offline, set TRIMTAB_OFFLINE=1"
    _Silence.until = time.monotonic() + SILENT_SECONDS
    return _Silence.reason
