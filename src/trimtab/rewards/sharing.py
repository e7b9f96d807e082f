"""Share rewards on the Hugging Face Hub: push a folder, pull one. Files are checked before they leave or are used."""

import shutil
from dataclasses import replace
from pathlib import Path

from trimtab.checking import checked, shown
from trimtab.data.files import shown_path, why_not_written
from trimtab.data.folders import whole_folder
from trimtab.data.hub import HubFault, fetch
from trimtab.data.hub_upload import check_owned_id, upload
from trimtab.errors import CorruptReward, InvalidOutput, InvalidSetting, RewardNotFound, UploadFailed
from trimtab.rewards.base_path import find_base, published_base
from trimtab.rewards.card import CARD_FILE, HASHES, README_FILE, WEIGHTS_FILE, RewardCard, read_card
from trimtab.rewards.hub_metadata import hub_metadata
from trimtab.rewards.model_card import model_card
from trimtab.rewards.target import check_target
from trimtab.rewards.weights import read_weights

FILES = (CARD_FILE, WEIGHTS_FILE, README_FILE)
MESSAGE = "Upload a trimtab reward"


@checked
def push_reward(folder: str | Path, repo_id: str, private: bool = False, license: str | None = None) -> str:
    """Upload a saved reward to a model repository on the Hub, which is made if there is none; returns its address.

    The model card is written from the reward's card. A base in a local folder is recorded by its last name and the hash
    of its weights, so that no card shows your folders. Nothing is uploaded unless the folder is whole.

    Args:
        folder: written by `save_pretrained` or `trimtab train`.
        repo_id: ORG/NAME.
        private: only the owner may see the repository.
        license: an identifier of the Hub, such as "apache-2.0"; default: the model card names none.

    Raises:
        InvalidSetting: no ORG/NAME.
        CorruptReward: the folder is no reward, or its weights are damaged or have another checksum than its card says.
        UploadFailed: offline, no token, the Hub does not answer, or it refuses.
    """
    _check_id(repo_id)
    folder = Path(folder)
    card = read_card(folder)
    if missing := card.missing_hashes:
        raise CorruptReward(
            f"the card of {shown_path(folder)} has no {HASHES[missing[0]]}, so nobody could check it; load the reward "
            "and save it again"
        )
    read_weights(folder / WEIGHTS_FILE, card.weights_sha256)
    base = published_base(find_base(card.base, folder), card.base_weights_fingerprint)
    published = replace(card, base=base)
    files = {CARD_FILE: published.to_json().encode(), README_FILE: hub_card(published, repo_id, license).encode()}
    try:
        return upload(repo_id, {**files, WEIGHTS_FILE: folder / WEIGHTS_FILE}, private, MESSAGE)
    except HubFault as fault:
        raise UploadFailed(f"cannot push the reward to {shown(repo_id)}: {fault}") from fault


def hub_card(card: RewardCard, repo_id: str, license: str | None) -> str:
    """The README.md of a reward on the Hub: metadata, a snippet that loads it, figures, limits."""
    name = repo_id.rpartition("/")[2]
    return model_card(card, name, repo_id, hub_metadata(card, name, license))


@checked
def pull_reward(repo_id: str, folder: str | Path | None = None) -> Path:
    """Download a reward and check it: every byte of its weights has the card's checksum, and all numbers are finite.

    Only the card, its README and safetensors files are downloaded, and no code runs. A damaged download is repeated
    once.

    Args:
        repo_id: ORG/NAME.
        folder: where to write it; an older reward in it is replaced. Default: it stays in the Hub's cache.

    Returns:
        The folder that holds it.

    Raises:
        RewardNotFound: no ORG/NAME, no such repository, or the Hub does not answer and it was not downloaded before.
        CorruptReward: the repository holds no reward, or a damaged one. Nothing is written.
        InvalidSetting, InvalidOutput: the folder holds other files, or cannot be written.
    """
    _check_id(repo_id)
    if folder is not None:
        check_target(folder)
    cached = _checked_download(repo_id)
    return cached if folder is None else _copied(cached, Path(folder))


def _check_id(repo_id: str) -> None:
    try:
        check_owned_id(repo_id)
    except HubFault as fault:
        raise InvalidSetting(
            f"got {shown_path(repo_id)}, expected ORG/NAME of a reward on the Hub ({fault})"
        ) from fault


def _checked_download(repo_id: str) -> Path:
    """The folder of the Hub's cache with a reward whose files are whole."""
    try:
        folder = fetch(repo_id, FILES)
        try:
            _check(folder, repo_id)
        except CorruptReward:
            folder = fetch(repo_id, FILES, again=True)
            _check(folder, repo_id)
    except HubFault as fault:
        raise RewardNotFound(f"cannot pull the reward {shown(repo_id)}: {fault}") from fault
    return folder


def _check(folder: Path, repo_id: str) -> None:
    try:
        read_weights(folder / WEIGHTS_FILE, read_card(folder).weights_sha256)
    except CorruptReward as error:
        raise CorruptReward(f"got the repository {shown(repo_id)}, expected a whole reward: {error}") from error


def _copied(cached: Path, folder: Path) -> Path:
    """Copy a reward out of the cache, whole or not at all."""
    try:
        with whole_folder(folder, replace=True) as partial:
            for name in FILES:
                if (cached / name).is_file():
                    shutil.copyfile(cached / name, partial / name)
    except OSError as error:
        raise InvalidOutput(
            f"cannot write the reward to {shown_path(folder)}: {why_not_written(error)}; an older one is kept"
        ) from error
    return folder
