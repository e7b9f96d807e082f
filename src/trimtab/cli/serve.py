"""`trimtab serve`: an OpenAI-compatible server whose texts are steered."""

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

import typer

from trimtab.cli.console import error_console, legible, loading
from trimtab.cli.dataclass_options import expands
from trimtab.cli.options import (
    BatchInvariant,
    DraftOption,
    DtypeOption,
    EngineOption,
    Model,
    Retokenize,
    check_drafts,
    load_language_model,
)
from trimtab.engines.engine_names import EngineName, check_engine, check_engine_steers
from trimtab.errors import InvalidSetting
from trimtab.server.public_names import RewardPlace, check_places, parse_places, public_name
from trimtab.server.server_settings import LOCAL, ServerSettings

if TYPE_CHECKING:
    from trimtab.language_model import LanguageModel

KEY_VARIABLE = "TRIMTAB_API_KEY"
NEEDED = ("fastapi", "uvicorn", "prometheus_client")
NO_REWARDS = (
    "Rewards: none; sentiment and toxicity are of another tokenizer. Name one by --reward, or make one by trimtab adapt"
)


@expands
def serve(
    settings: Annotated[ServerSettings, "Server"],
    model: Model = "smollm2",
    dtype: DtypeOption = "auto",
    batch_invariant: BatchInvariant = False,
    engine: EngineOption = "torch",
    reward: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[=SOURCE]",
            help="Let requests steer by this reward: a bundled name, or NAME=FOLDER or NAME=HUB-ID; or two language "
            "models, NAME=experts:EXPERT,ANTI. Repeat for several. Default: sentiment and toxicity, where they fit the "
            "model's tokenizer.",
        ),
    ] = None,
    retokenize: Retokenize = False,
    draft: DraftOption = None,
    api_key: Annotated[
        str | None,
        typer.Option(help=f"Key that every request but /health must bring. Default: the variable {KEY_VARIABLE}."),
    ] = None,
    served_name: Annotated[
        str | None, typer.Option(help="The model's name in requests. Default: the last part of --model.")
    ] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Open the page of the server in a browser.")] = False,
) -> None:
    """Serve a steered model to every OpenAI client: completions, chats, streams.

    A request steers by the field "steer", as {"toxicity": -30}, or by its model's name, as smollm2+toxicity=-30.

    At / there is a page to try it: sliders, and every token's candidates.

    Example: trimtab serve --demo

    Example: trimtab serve --model smollm2 --reward toxicity --reward sentiment

    Example: trimtab serve --host 0.0.0.0 --port 8080 --max-rows 64 --reward kind=rewards/kind
    """
    check_extra()
    check_drafts(settings.speculate, draft)
    check_read(settings, engine, batch_invariant)
    check_engine(engine, batch_invariant, next(iter(settings.speculate), None))
    places = parse_places(reward) if reward else None
    check_places(places or [])
    served, key = public_name(model, served_name), key_of(api_key)
    if places:
        check_rewards(model, places, retokenize, engine)

    from trimtab.server.listening import bind, log_to_stderr, serve_on

    with bind(settings.host, settings.port) as listener:
        host, port = listener.getsockname()[:2]
        lm = load_language_model(model, dtype, batch_invariant, engine, draft)
        with loading("rewards"):
            app, names = build(lm, served, places, settings, key, retokenize)
        log_to_stderr()
        address = address_of(host, port)
        announce(host, address, names, guarded=key is not None)
        serve_on(listener, app, address if demo else None)


def check_extra() -> None:
    """Refuse to start without the web packages.

    Raises:
        InvalidSetting: one is not installed.
    """
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise InvalidSetting(
            f"got no package {missing[0]}, expected the extra of the server: pip install 'trimtab[server]'"
        )


def check_read(settings: ServerSettings, engine: EngineName, batch_invariant: bool) -> None:
    """Refuse options that the engine would not read.

    Raises:
        InvalidSetting: naming the options.
    """
    if batch_invariant and settings.speculate:
        raise InvalidSetting(
            f"got --speculate {settings.speculate[0]} with --batch-invariant, expected one of them: a call that checks "
            "a draft has another shape"
        )
    if settings.prefix_cache in (0, ServerSettings.prefix_cache):
        return
    given = f"got --prefix-cache {settings.prefix_cache:g}"
    if batch_invariant:
        raise InvalidSetting(f"{given} with --batch-invariant, expected one of them: each text is encoded alone")
    if engine == "vllm":
        raise InvalidSetting(f"{given} with --engine vllm, expected --engine torch: vLLM has a cache of its own")


def check_rewards(
    model: str, places: list[RewardPlace], retokenize: bool = False, engine: EngineName = "torch"
) -> None:
    """Refuse rewards that are damaged, or made for another tokenizer, before the model's weights load.

    Raises:
        ModelNotFound: there is no such model.
        RewardMismatch, CorruptReward: of a reward.
        UnsupportedByEngine: the engine cannot steer by one.
    """
    from trimtab.models.loading import load_codec
    from trimtab.rewards.expert_names import check_experts, names_experts
    from trimtab.rewards.registry import check_reward

    with loading(model):
        codec = load_codec(model)
        for place in places:
            if names_experts(place.source):
                check_experts(place.source, codec)
                check_engine_steers(engine, [None])
            else:
                check_engine_steers(engine, [check_reward(place.source, codec, retokenize)])


def key_of(option: str | None) -> str | None:
    """The API key of the option or of the variable; None for none.

    Raises:
        InvalidSetting: it is empty, or cannot be sent in a header.
    """
    key = os.environ.get(KEY_VARIABLE) if option is None else option
    if key is not None and not (key and key.isascii() and key.isprintable() and key.strip() == key):
        raise InvalidSetting("got an API key that is empty or has other characters, expected printable ASCII")
    return key


def build(
    lm: "LanguageModel",
    served: str,
    places: list[RewardPlace] | None,
    settings: ServerSettings,
    key: str | None,
    retokenize: bool = False,
) -> tuple[object, list[str]]:
    """The application, and the names of the rewards that it has."""
    from trimtab.server.app import create_app
    from trimtab.server.loading import load_registered

    registered = load_registered(places, lm.base, retokenize)
    return create_app(lm, served, registered, settings, key), [each.name for each in registered]


def address_of(host: str, port: int) -> str:
    """The address of the page, for this machine's browser."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{reachable}]:{port}/" if ":" in reachable else f"http://{reachable}:{port}/"


def announce(host: str, address: str, rewards: list[str], guarded: bool) -> None:
    """Print where the server listens and what it steers by, and a warning if anybody may call it."""
    console = error_console()
    console.print(legible(f"Rewards: {', '.join(rewards)}" if rewards else NO_REWARDS), markup=False, soft_wrap=True)
    console.print(
        legible(f"Serving on {address}v1, with a page at {address} (Ctrl-C ends)"), markup=False, soft_wrap=True
    )
    if host not in LOCAL and not guarded:
        console.print(f"warning: no --api-key, so everybody who reaches {legible(host)} may use it", style="yellow")
