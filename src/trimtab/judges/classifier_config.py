"""Tell a classifier's folder from that of a language model, by its config. No torch here."""

from pathlib import Path

from trimtab.checking import shown
from trimtab.data.hub import HubFault, fetch
from trimtab.data.json_text import parse_json
from trimtab.errors import InvalidData

CONFIG_FILE = "config.json"
CLASSIFIER = "ForSequenceClassification"
OTHER_HEADS = ("ForCausalLM", "LMHeadModel", "ForMaskedLM", "ForPreTraining", "ForConditionalGeneration")


def names_classifier(name: str) -> bool:
    """Whether a folder or a Hub id holds a classifier, by its config alone; a reward's card has no architecture."""
    try:
        is_folder = Path(name).is_dir()
        folder = Path(name) if is_folder else fetch(name, (CONFIG_FILE,)) if name.count("/") == 1 else None
        config = None if folder is None else parse_json((folder / CONFIG_FILE).read_bytes())
    except (HubFault, InvalidData, OSError, ValueError):  # no such name, or nothing that can be read
        return False
    names = config.get("architectures") if isinstance(config, dict) else None
    return isinstance(names, list) and any(str(each).endswith(CLASSIFIER) for each in names)


def check_classifier_config(folder: Path) -> None:
    """Refuse a folder whose config names the class of a language model. Other names are left to the loader.

    Raises:
        InvalidData: it does, or the config is no JSON object.
    """
    try:
        config = parse_json((folder / CONFIG_FILE).read_bytes())
    except OSError as error:
        raise InvalidData(f"cannot read its {CONFIG_FILE}: {error.strerror or error}") from error
    if not isinstance(config, dict):
        raise InvalidData(f"its {CONFIG_FILE} holds no JSON object")
    names = config.get("architectures")
    if isinstance(names, list) and names and all(str(name).endswith(OTHER_HEADS) for name in names):
        raise InvalidData(f"it is no classifier, but a language model: {shown(names[0])}")
