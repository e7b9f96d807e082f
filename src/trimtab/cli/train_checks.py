"""Checks of what `trimtab train` is given, before any work: its folders, and the names of the attributes."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab.checking import shown
from trimtab.data.files import read_record, shown_path
from trimtab.errors import InvalidSetting

if TYPE_CHECKING:
    from trimtab.models.codec import TokenizerCodec
    from trimtab.training.recipe import Recipe

SIZE_NAMES = (("num_hidden_layers", "n_layer"), ("hidden_size", "n_embd"))  # the second is GPT-2's


def check_attributes(attributes: Sequence[str]) -> None:
    """Check the names of a reward's attributes.

    Raises:
        InvalidSetting: a name is blank, given twice, or cannot stand in NAME:ATTRIBUTE=BETA.
    """
    if unfit := [name for name in attributes if set(name) & set(":=")]:
        raise InvalidSetting(f"got attribute {shown(unfit[0])}, expected a name without : and =, as --steer takes it")
    if not all(name.strip() for name in attributes) or len(attributes) != len(set(attributes)):
        raise InvalidSetting(f"got attributes {', '.join(map(shown, attributes))}, expected different names")


def check_folders(out: Path, run: Path, targets: Path) -> None:
    """Check that the folders can be written, and that none is in the way of another.

    Args:
        out: folder for the reward; --out.
        run: folder for settings, metrics and checkpoints; --run.
        targets: folder for a teacher's rewards; --targets.

    Raises:
        InvalidSetting: a folder is inside another one.
        InvalidOutput, InvalidData: a folder cannot be written, or holds other files.
    """
    from trimtab.training.kept_folder import check_targets
    from trimtab.training.run_folder import TARGETS, check_named_folder

    check_named_folder(out, "--out")
    check_named_folder(run, "--run")
    check_named_folder(targets, "--targets")
    check_outside("--run", run, "--out", out)
    check_outside("--out", out, "--run", run)
    check_outside("--targets", targets, "--out", out)
    check_outside("--out", out, "--targets", targets)
    check_outside("--run", run, "--targets", targets)
    if targets.resolve() != (run / TARGETS).resolve():
        check_outside("--targets", targets, "--run", run)
    check_targets(targets)


def check_base(base: str, recipe: "Recipe") -> "TokenizerCodec":
    """Check that a recipe fits a base, by the base's small files; returns its tokenizer.

    Raises:
        InvalidSetting: it asks for more layers, a higher rank or longer texts than the base has.
        ModelNotFound: there is no such base.
    """
    from trimtab.models.loading import find_model, load_codec
    from trimtab.training.recipe import check_fits

    codec = load_codec(base)
    if recipe.max_tokens >= codec.context_length:
        raise InvalidSetting(
            f"got max_tokens={recipe.max_tokens}, expected fewer than the base's {codec.context_length} tokens"
        )
    config = read_record(find_model(base, weights=False) / "config.json")
    text_config = config.get("text_config", config)
    layers, hidden_size = (next((text_config[n] for n in names if n in text_config), None) for names in SIZE_NAMES)
    if isinstance(layers, int) and isinstance(hidden_size, int):
        check_fits(recipe, layers, hidden_size)
    return codec


def check_outside(option: str, path: Path, other_option: str, other: Path) -> None:
    """Check that a folder is not another one, nor inside it.

    Raises:
        InvalidSetting: it is.
    """
    if path.resolve().is_relative_to(other.resolve()):
        raise InvalidSetting(
            f"got {option} {shown_path(path)}, expected a folder outside {other_option} {shown_path(other)}"
        )
