"""`trimtab rewards push` and `trimtab rewards pull`: share rewards on the Hugging Face Hub."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trimtab.cli.completion import complete_reward
from trimtab.cli.console import error_console, legible, loading
from trimtab.data.files import shown_path

if TYPE_CHECKING:
    from trimtab.rewards.card import RewardCard

Repository = Annotated[str, typer.Argument(metavar="ORG/NAME", help="Repository on the Hub; ORG may be your account.")]


def push(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Folder of the reward.", autocompletion=complete_reward)
    ],
    repository: Repository,
    private: Annotated[
        bool, typer.Option("--private", help="Make a private repository. One that exists must be private.")
    ] = False,
    license: Annotated[
        str | None,
        typer.Option(
            metavar="ID", help="License of the reward, as the Hub calls it, such as apache-2.0. Default: none is named."
        ),
    ] = None,
) -> None:
    """Upload a reward to the Hub, with a model card: license, base, metrics, and how to use it.

    The weights are checked against the checksum in the reward's card first. The upload is one commit; a repository that
    holds anything but a reward is refused. It needs a token that may write: `hf auth login`, or HF_TOKEN.

    Example: trimtab rewards push rewards/polite ORG/polite --license apache-2.0

    Example: trimtab rewards push rewards/polite ORG/polite --private
    """
    with loading(f"the reward {folder}"):
        from trimtab.rewards.card import read_card
        from trimtab.rewards.sharing import push_reward
    address = push_reward(folder, repository, private, license)
    note(f"pushed to {address}")
    if license is None:
        note("no license is named, so others may not know whether they can use it: push again with --license ID")
    show_use(read_card(folder), repository)


def pull(
    repository: Repository,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the reward; an older reward in it is replaced. Default: the Hub's cache."),
    ] = None,
) -> None:
    """Download a reward from the Hub and check it: its card, the checksum of its weights, and that they are finite.

    No code of the repository is downloaded or run. Every option that takes a reward takes ORG/NAME as well, with the
    same checks: it is downloaded when it is first used.

    Example: trimtab rewards pull ORG/polite --out rewards/polite
    """
    with loading(f"the reward {repository}"):
        from trimtab.rewards.card import read_card
        from trimtab.rewards.sharing import pull_reward

        folder = pull_reward(repository, out)
    note(f"in {shown_path(folder)}")
    show_use(read_card(folder), repository if out is None else str(out))


def note(text: str) -> None:
    """Print a line on stderr."""
    error_console().print(legible(text, keep=""), markup=False, highlight=False, soft_wrap=True)


def show_use(card: "RewardCard", reward: str) -> None:
    """Print the command that steers by a reward, on its base."""
    from trimtab.cli.reward_offers import steering_command
    from trimtab.rewards.base_path import shown_base

    typer.echo(steering_command(card, reward, shown_base(card.base)))
