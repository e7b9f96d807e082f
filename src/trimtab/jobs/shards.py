"""The shards of an input: files of prompts in a folder or of a pattern, and the file of the rows of each."""

import glob
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from trimtab.data.files import shown_path
from trimtab.data.jsonlines import is_file
from trimtab.data.outputs import check_folder
from trimtab.errors import InvalidData, InvalidOutput, InvalidSetting
from trimtab.jobs.target_path import check_target_path, has_content

ENDINGS = (".jsonl", ".jsonl.gz")


class Shard(NamedTuple):
    """A file of prompts.

    Attributes:
        source: the file.
        target: receives its rows.
    """

    source: Path
    target: Path


def find_shards(source: Path, folder: Path, replace: bool = False) -> list[Shard]:
    """The shards of an input, sorted by name. Rows of in/NAME.jsonl go to out/NAME.jsonl.

    Args:
        source: a folder with .jsonl or .jsonl.gz files, a pattern such as in/part-*.jsonl, or one file.
        folder: receives the rows; made if it is not there.
        replace: as in `FileTarget`.

    Raises:
        InvalidData: there are no such files, or a target holds something that is not ours and may not be replaced.
        InvalidOutput: the folder cannot be written, or is the folder of the shards.
        InvalidSetting: two shards have the same name.
    """
    sources = find_sources(source)
    real = check_folder(folder, "--output")
    if any(each.resolve().parent == real for each in sources):
        raise InvalidOutput(f"got --output {shown_path(folder)}, expected another folder than that of --input")
    names = [target_name(each) for each in sources]
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise InvalidSetting(f"got {count} files of --input for {shown_path(folder / name)}, expected other names")
    return [
        Shard(each, check_target_path(folder / name, each, replace)) for each, name in zip(sources, names, strict=True)
    ]


def started(shards: Sequence[Shard]) -> Path | None:
    """The target of the first shard that has rows; None if none has."""
    return next((shard.target for shard in shards if has_content(shard.target)), None)


def find_sources(source: Path) -> list[Path]:
    """The files of prompts of a folder or a pattern, sorted by name; or one file, whatever its name.

    Raises:
        InvalidData: there are none.
    """
    try:
        if source.is_dir():
            found = list(source.iterdir())
        else:
            found = [source] if is_file(source) else [Path(each) for each in glob.glob(str(source))]
    except OSError as error:
        raise InvalidData(f"cannot read --input {shown_path(source)}: {error.strerror or error}") from error
    files = sorted(each for each in found if each.name.endswith(ENDINGS) and is_file(each))
    if not files:
        raise InvalidData(
            f"got --input {shown_path(source)}, expected a folder with .jsonl files, or a pattern of such files; "
            "there are none"
        )
    return files


def target_name(source: Path) -> str:
    """The name of the file of a shard's rows."""
    return source.name.removesuffix(".gz")
