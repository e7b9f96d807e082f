"""Tell a classifier's folder from that of a language model, by its config. No torch here."""

from pathlib import Path

from trimtab.checking import shown
from trimtab.data.json_text import parse_json
from trimtab.errors import InvalidData

CONFIG_FILE = "config.json"
OTHER_HEADS = ("ForCausalLM", "LMHeadModel", "ForMaskedLM", "ForPreTraining", "ForConditionalGeneration")


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
