"""`trimtab adapt`: a reward for any language model, from a bundled reward or from any classifier."""

import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trimtab.cli.completion import complete_model, complete_reward
from trimtab.cli.console import error_console, legible, loading, report_faults, resumable
from trimtab.cli.dataclass_options import expands
from trimtab.cli.options import Split, TextColumn
from trimtab.cli.train_options import Run, SaveDtype
from trimtab.data.files import shown_path
from trimtab.data.visible import count_of
from trimtab.errors import InvalidData, InvalidSetting
from trimtab.training.adapt_settings import FEWEST_TEXTS, AdaptSettings

if TYPE_CHECKING:
    from trimtab.cli.progress import Bars
    from trimtab.models.codec import TokenizerCodec
    from trimtab.models.frozen_lm import FrozenLM
    from trimtab.rewards.reward_model import RewardModel
    from trimtab.training.fit import RunOptions
    from trimtab.training.run_folder import RunFolder
    from trimtab.training.text_teacher import ClassifierTeacher

TEXT, TRAIN = "text", "train"  # the column and the split where --data is read
LITTLE = 0.2  # rank correlation


@expands
def adapt(
    model: Annotated[
        str,
        typer.Option(
            help="The language model to steer: smollm2, a folder, a .gguf file or a Hub id.",
            autocompletion=complete_model,
        ),
    ],
    settings: Annotated[AdaptSettings, "Training"],
    reward: Annotated[
        str | None,
        typer.Argument(
            help="The reward to adapt: toxicity, sentiment, or any reward with a V-head (a folder or a Hub id).",
            autocompletion=complete_reward,
        ),
    ] = None,
    classifier: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[:LABEL]",
            help="Learn from a classifier instead: the probability of a label of a text-classification model (a folder "
            "or a Hub id), onnx:FOLDER, profanity or vader. Repeat for several.",
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="Texts such as the model shall be steered on: a .jsonl, .csv or .tsv file (.gz allowed), or a data "
            "set on the Hub. Default: the model writes texts itself."
        ),
    ] = None,
    text_column: TextColumn = TEXT,
    split: Split = TRAIN,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the reward. Default: rewards/NAME-MODEL, of both names.")
    ] = None,
    run: Run = None,
    save_dtype: SaveDtype = "bfloat16",
) -> None:
    """Make a reward for a language model from one of another tokenizer, or from any classifier.

    The teacher scores texts, and the model's most likely next tokens behind them. A few narrow layers over the model's
    own hidden states learn these scores. An interrupted run resumes when the same command is given again.

    Example: trimtab adapt toxicity --model Qwen/Qwen3-0.6B

    Example: trimtab adapt --classifier ORG/MODEL:toxic --model Qwen/Qwen3-0.6B
    """
    from trimtab.models.loading import check_exists, check_steerable, load_codec
    from trimtab.training.recipe import TaughtText, check_teachers

    classifiers = classifier or []
    check_words(reward, classifiers, data, text_column, split)
    out = check_named(out) or default_folder(reward or classifiers[0], model)
    folder = check_places(out, run)
    check_exists(model)
    teacher = None if reward is None else check_card(reward)
    teachers = [load_classifier(spec) for spec in classifiers]  # before long data, and a GGUF file to convert
    own = {"data": "texts of the model's own"}
    texts, facts = (None, own) if data is None else read_texts(data, text_column, split, settings)
    codec = load_codec(model)
    check_steerable(model)
    check_fits(settings, codec)
    if teachers:
        check_teachers([TaughtText(each.attributes, each.clamp, None) for each in teachers])
    if teacher:
        check_teacher(teacher, codec, settings.chat)
    with resumable(), folder.locked(), closing(progress_bars()) as bars:
        lm = load_model(model, codec, settings)
        student = train(lm, teacher, teachers, texts, settings, make_options(folder, out.name, facts, bars))
    save(student, out, save_dtype)
    show_use(student, out, model)


def check_words(reward: str | None, classifiers: Sequence[str], data: str | None, text_column: str, split: str) -> None:
    """Refuse options that do not go together.

    Raises:
        InvalidSetting: there is no teacher, or both kinds; or an option of --data without it.
    """
    if (reward is None) == (not classifiers):
        given = "neither REWARD nor" if reward is None else "both REWARD and"
        raise InvalidSetting(f"got {given} --classifier, expected one of them, as in: trimtab adapt toxicity --model …")
    if data is None and (text_column, split) != (TEXT, TRAIN):
        given = "--text-column" if text_column != TEXT else "--split"
        raise InvalidSetting(f"got {given}, expected --data with it")


def check_places(out: Path, run: Path | None) -> "RunFolder":
    """Check the folder of the reward, and return the folder of the run; default: OUT.run beside it.

    Raises:
        InvalidData, InvalidOutput: one of them holds other files, or cannot be written.
    """
    from trimtab.cli.train_checks import check_folders
    from trimtab.rewards.target import check_target
    from trimtab.training.run_folder import TARGETS, RunFolder

    run = run or out.with_name(out.name + ".run")
    check_target(out)
    check_folders(out, run, run / TARGETS)
    folder = RunFolder(run)
    folder.check()
    return folder


def check_named(out: Path | None) -> Path | None:
    """The given folder; a folder without a name, as an empty text gives it, is refused.

    Raises:
        InvalidSetting: it has none.
    """
    if out is not None and not out.name:
        raise InvalidSetting(f"got --out {shown_path(out)}, expected the name of a new folder")
    return out


def default_folder(teacher: str, model: str) -> Path:
    """Return rewards/NAME-MODEL, without the folders, the endings and the characters that a path cannot have."""
    names = [
        re.sub(r"[^\w.-]+", "-", Path(name).stem if name.endswith(".gguf") else Path(name).name)
        for name in (teacher, model)
    ]
    return Path("rewards") / "-".join(name.strip("-") for name in names)


def check_fits(settings: AdaptSettings, codec: "TokenizerCodec") -> None:
    """Check the settings against a model's tokenizer and context.

    Raises:
        InvalidSetting: there are fewer tokens than candidates, the texts are longer than the context, or there is no
            chat template.
    """
    if settings.chat:
        codec.encode_prompt([{"role": "user", "content": "Hello"}])
    if settings.candidates > (size := len(codec.tokenizer)):
        raise InvalidSetting(f"got candidates={settings.candidates}, expected at most {size}")
    if settings.tokens >= codec.context_length:
        raise InvalidSetting(f"got tokens={settings.tokens}, expected fewer than the model's {codec.context_length}")


def check_card(reward: str) -> str:
    """Return the name of the reward that teaches; of a bundled reward it is the one with a V-head.

    Raises:
        RewardNotFound, CorruptReward: there is no such reward, or its card is damaged.
    """
    from trimtab.rewards.card import read_card
    from trimtab.rewards.registry import find_reward, teaching_reward

    name = teaching_reward(reward)
    read_card(find_reward(name))
    return name


def check_teacher(name: str, codec: "TokenizerCodec", chat: bool = False) -> None:
    """Check that a reward can teach a model.

    Raises:
        CorruptReward: its weights are damaged.
        InvalidSetting: it has no V-head, and the model has another tokenizer; or it has the model's, and shall teach
            answers in a chat.
        RewardMismatch: its card does not say where its base is.
    """
    from trimtab.rewards.registry import base_of, check_reward

    card = check_reward(name)
    if card.tokenizer_fingerprint != codec.fingerprint:
        card.check_scores_texts(name)
        base_of(name)
    elif chat:
        raise InvalidSetting(
            f"got --chat with {shown_path(name)}, a reward of the model's own tokenizer, which would also read the "
            "messages; expected a reward of another tokenizer, or --classifier"
        )


def read_texts(
    data: str, text_column: str, split: str, settings: AdaptSettings
) -> "tuple[list[str], dict[str, object]]":
    """Return the texts of --data, drawn at random, and facts about them for the card; bad rows are reported.

    Raises:
        InvalidData: there are too few.
    """
    from rich.text import Text

    from trimtab.data.tables import read_labelled, select_rows
    from trimtab.training.facts import without_folders

    with loading(data):
        table = read_labelled(data, [], text_column, split)
    report_faults(data, table.faults)
    different = list(dict.fromkeys(row.text for row in select_rows(table.rows, None, settings.seed)))
    if len(different) < FEWEST_TEXTS:
        raise InvalidData(
            f"got {count_of(len(different), 'different text')} in {shown_path(data)}, expected at least {FEWEST_TEXTS}"
        )
    if twice := len(table.rows) - len(different):
        error_console().print(Text(f"{count_of(twice, 'text')} of --data left out: they occur earlier in it"))
    if len(different) < settings.texts:
        error_console().print(Text(f"--data has {count_of(len(different), 'text')} of --texts {settings.texts}"))
    return different[: settings.texts], {"data": without_folders(data), "data_sha256": table.sha256}


def load_classifier(spec: str) -> "ClassifierTeacher":
    """Load a classifier as a teacher, before the language model.

    Raises:
        InvalidSetting: there is no such classifier, it has no such label, or a library is not installed.
    """
    from rich.text import Text

    with loading(spec):
        from trimtab.judges.load import load_judge
        from trimtab.judges.notation import TOXIC
        from trimtab.training.text_teacher import ClassifierTeacher

        judge = load_judge(spec, TOXIC)
    if label := judge.about.get("label"):
        error_console().print(Text(legible(f"{spec} teaches its label {label}", keep="")), soft_wrap=True)
    return ClassifierTeacher(judge)


def load_model(model: str, codec: "TokenizerCodec", settings: AdaptSettings) -> "FrozenLM":
    """Load the language model in the number format of training."""
    with loading(model):
        import torch

        from trimtab.models.loading import load_frozen_lm

        return load_frozen_lm(model, dtype=torch.bfloat16 if settings.bf16 else torch.float32, codec=codec)


def progress_bars() -> "Bars":
    """Return the bars of the run, which its end closes."""
    from trimtab.cli.progress import Bars

    return Bars(error_console())


def make_options(folder: "RunFolder", name: str, facts: "Mapping[str, object]", bars: "Bars") -> "RunOptions":
    """Return the folder, the progress bars and the provenance of the run."""
    from trimtab.training.facts import command_line
    from trimtab.training.fit import RunOptions

    command = command_line(["trimtab", *sys.argv[1:]])
    return RunOptions(folder, bars, name, {"command": command, **facts})


def train(
    lm: "FrozenLM",
    name: str | None,
    classifiers: "Sequence[ClassifierTeacher]",
    texts: "Sequence[str] | None",
    settings: AdaptSettings,
    options: "RunOptions",
) -> "RewardModel":
    """Return the reward for the model, from a reward by name or from classifiers."""
    from trimtab.training.adaptation import adapt as adapt_reward

    return adapt_reward(lm, list(classifiers) if name is None else name, texts, settings, options)


def save(student: "RewardModel", out: Path, dtype: str) -> None:
    """Save the reward and print how well it agrees with its teacher."""
    import torch
    from rich.text import Text

    from trimtab.training.saving import saving

    with saving(out, "the reward"):
        student.save_pretrained(out, getattr(torch, dtype))
    console = error_console()
    quality = student.card.quality
    agreements = [(name, value) for name, value in quality.items() if name.startswith("agreement")]
    for figure, value in agreements:
        console.print(Text(f"  {legible(figure, keep='')} {value:.3f}"))
    if any(isinstance(value, float) and value < LITTLE for _, value in agreements):
        console.print(Text("warning: the reward has learned little of its teacher; give it more --texts", "yellow"))
    if warning := student.card.quality.get("warning"):
        console.print(Text(legible(f"warning: {warning}", keep=""), "yellow"), soft_wrap=True)


def show_use(student: "RewardModel", out: Path, model: str) -> None:
    """Print the command that steers by the reward, and what its sign means."""
    from rich.text import Text

    from trimtab.cli.reward_offers import steering_command

    first = legible(student.card.attributes[0], keep="")
    error_console().print(Text(f"A strength above 0 steers towards {first}, below 0 away from it:"), soft_wrap=True)
    typer.echo(steering_command(student.card, str(out), model))
