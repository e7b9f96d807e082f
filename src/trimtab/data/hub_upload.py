"""Upload files to a model repository on the Hugging Face Hub, in one commit."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab.data.hub import ANSWER_SECONDS, HubFault, check_hub_id, is_offline, reason_of, why_refused

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import ModelInfo

BY_THE_HUB = (".gitattributes",)  # files that the Hub makes itself
LOG_IN = "log in with `hf auth login`, or set HF_TOKEN to a token that may write (https://hf.co/settings/tokens)"


def upload(name: str, files: Mapping[str, bytes | Path], private: bool, message: str) -> str:
    """Upload files; returns the address of the repository. It is made if there is none.

    Everything that can be refused is refused before the repository is made or changed. A commit replaces files of the
    same names; the Hub keeps their history.

    Args:
        name: OWNER/NAME.
        files: the content of each file, or where it is, by its name in the repository.
        private: only the owner may see the repository. A public one is refused then.
        message: of the commit.

    Raises:
        HubFault: no OWNER/NAME, offline, no token or one that may not write, the Hub does not answer, or the repository
            holds other files or is public.
    """
    check_owned_id(name)
    if variable := is_offline():
        raise HubFault(f"{variable} forbids the network")
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi()
    _check_token(api)
    if there := _find(api, name):
        _check_same_kind(there, files, private)
    try:
        address = api.create_repo(name, private=private, exist_ok=True)
        added = [CommitOperationAdd(path_in_repo=each, path_or_fileobj=content) for each, content in files.items()]
        api.create_commit(name, added, commit_message=message)
    except Exception as error:  # the classes depend on the versions of huggingface_hub and of its HTTP library
        raise HubFault(_reason(error)) from error
    return str(address)


def check_owned_id(name: str) -> None:
    """Refuse a name that is not OWNER/NAME, without asking the Hub.

    Raises:
        HubFault: it is not.
    """
    check_hub_id(name)
    if name.count("/") != 1:
        raise HubFault("no OWNER/NAME: an owner is your account on the Hub, or an organization")


def _check_token(api: "HfApi") -> None:
    """Check that there is a token, and that the Hub answers and knows it.

    Raises:
        HubFault: no token, a wrong one, or no answer.
    """
    from huggingface_hub import get_token

    if get_token() is None:
        raise HubFault(f"no token; {LOG_IN}")
    if refused := why_refused(api.whoami):
        raise HubFault(f"{refused}; {LOG_IN}" if "token" in refused.lower() else refused)


def _find(api: "HfApi", name: str) -> "ModelInfo | None":
    """What the Hub says about a repository; None if there is none."""
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        return api.model_info(name, timeout=ANSWER_SECONDS)
    except RepositoryNotFoundError:
        return None
    except Exception as error:  # as in upload
        raise HubFault(_reason(error)) from error


def _check_same_kind(there: "ModelInfo", files: Mapping[str, bytes | Path], private: bool) -> None:
    """Refuse a repository that holds something else, or that everybody can see where only the owner shall.

    Raises:
        HubFault: it does, or they can.
    """
    others = {each.rfilename for each in there.siblings or ()} - {*files, *BY_THE_HUB}
    if others:
        raise HubFault(f"the repository holds {min(others)!r}, expected a new one, or only {', '.join(files)}")
    if private and not there.private:
        raise HubFault("the repository exists and is public; make it private on its settings page, or choose another")


def _reason(error: Exception) -> str:
    reason = reason_of(error) + (f" ({reason_of(error.__cause__)})" if error.__cause__ else "")
    refused = getattr(getattr(error, "response", None), "status_code", None) in (401, 403)
    return f"{reason}; {LOG_IN}" if refused else reason
