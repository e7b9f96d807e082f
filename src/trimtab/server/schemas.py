"""The requests that the server takes, as closed and typed schemas: OpenAI's fields, `steer` and `trimtab`."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, FailFast, Field

from trimtab.engines.sampling_params import DEFAULT_TOP_K, PENALTIES
from trimtab.steering.notation import MAX_BETA

MAX_NAME = 256
MAX_STEERS = 16
MAX_STOPS = 16
MAX_STOP_LENGTH = 1000
MAX_NUMBER = 1e6
MAX_TOP_K = 1_000_000
MAX_INTEGER = 2**63 - 1
MAX_COUNT = 1_000_000
MAX_ITERATIONS = 1000
MAX_CHILDREN = 100
MAX_DRAFT = 200
TEXT_LOGPROBS = 5  # OpenAI's limits
CHAT_LOGPROBS = 20


class Closed(BaseModel):
    """A schema that refuses unknown fields, other types, and numbers that are not finite."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class SteerTerm(Closed):
    """How one reward steers."""

    beta: float = Field(ge=-MAX_BETA, le=MAX_BETA, description="Strength β; below 0 steers away from high rewards.")
    attribute: str | None = Field(None, max_length=MAX_NAME, description="Which of its rewards; default the first.")
    min_entropy: float = Field(
        0.0, ge=0, le=MAX_NUMBER, description="Steer only where the next token's entropy, in nats, is at least this."
    )
    method: str | None = Field(None, max_length=MAX_NAME, description="arm or rad: the registered reward of it.")


def _as_terms(value: object) -> object:
    """A reward's name as a term toward it."""
    return {value: 1.0} if isinstance(value, str) else value


def _as_term(value: object) -> object:
    """A number as the term with this β."""
    if isinstance(value, Mapping):
        return value
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError('expected a number β, or an object such as {"beta": 20}')
    return {"beta": value}


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _as_prompts(value: object) -> object:
    """A text or a list of token ids as a list with one prompt; a list of prompts unchanged."""
    single = isinstance(value, str) or (
        isinstance(value, list) and bool(value) and all(isinstance(each, int) for each in value)
    )
    prompts = [value] if single else value
    if not isinstance(prompts, list) or not prompts or not all(map(_is_prompt, prompts)):
        raise ValueError("expected a text, a list of texts, a list of token ids, or a list of such lists")
    return prompts


def _is_prompt(value: object) -> bool:
    if isinstance(value, list):
        return bool(value) and all(type(each) is int and 0 <= each <= MAX_INTEGER for each in value)
    return isinstance(value, str)


def _as_text(value: object) -> object:
    """OpenAI's list of text parts as one text."""
    if not isinstance(value, list):
        return value
    if not all(isinstance(part, Mapping) and part.keys() == {"type", "text"} for part in value):
        raise ValueError("expected a text, or parts such as {'type': 'text', 'text': 'Hello'}")
    if not all(part["type"] == "text" and isinstance(part["text"], str) for part in value):
        raise ValueError("expected parts of the type 'text' only")
    return "".join(part["text"] for part in value)


def _must_be_zero(value: object) -> object:
    if value not in (None, 0):
        raise ValueError("expected 0 or no such field; use repetition_penalty")
    return None


Prompts = Annotated[
    list[Any], BeforeValidator(_as_prompts, json_schema_input_type=str | list[str] | list[int] | list[list[int]])
]
Text = Annotated[str, BeforeValidator(_as_text, json_schema_input_type=str | list[dict[str, str]])]
Stop = Annotated[str, Field(min_length=1, max_length=MAX_STOP_LENGTH)]
Stops = Annotated[list[Stop], Field(max_length=MAX_STOPS), BeforeValidator(_as_list)]
Terms = Annotated[
    dict[str, Annotated[SteerTerm, BeforeValidator(_as_term, json_schema_input_type=float | SteerTerm)]],
    Field(max_length=MAX_STEERS),
]
RankingTerms = Annotated[Terms, BeforeValidator(_as_terms, json_schema_input_type=str | Terms)]
Unused = Annotated[float | None, BeforeValidator(_must_be_zero)]


class StreamOptions(Closed):
    """What a stream has beside the text."""

    include_usage: bool = Field(False, description="End with a chunk that has the usage and no choices.")
    include_obfuscation: bool = Field(False, description="Accepted, and without effect.")


class TrimtabOptions(Closed):
    """What the response has beside OpenAI's fields."""

    trace: bool = Field(False, description="Add each token's candidates, log-probabilities and rewards.")


class RewindFields(Closed):
    """How a text is searched (RAIN, 2309.07124): fields of `RewindSettings`, the judge and a limit of time."""

    judge: Literal["self", "self:harmlessness", "self:truthfulness", "self:sentiment"] = Field(
        "self", description="The question that the model is asked about its drafts."
    )
    judge_rewards: Terms | None = Field(None, description="Registered rewards that judge instead, as in steer.")
    similarity: Literal["lm", "off"] = Field("lm", description="Compare branches by the model's hidden states, or not.")
    iterations: int | None = Field(None, ge=1, le=MAX_ITERATIONS)
    fresh_iterations: int | None = Field(None, ge=1, le=MAX_ITERATIONS)
    min_visits: int | None = Field(None, ge=1, le=MAX_ITERATIONS)
    min_value: float | None = Field(None, ge=-1, le=1)
    exploration: float | None = Field(None, ge=0, le=MAX_NUMBER)
    children: int | None = Field(None, ge=1, le=MAX_CHILDREN)
    max_children: int | None = Field(None, ge=1, le=MAX_CHILDREN)
    draft_tokens: int | None = Field(None, ge=1, le=MAX_DRAFT)
    max_seconds: float | None = Field(None, gt=0, le=MAX_NUMBER, description="Then the best draft so far is returned.")


class SamplingFields(Closed):
    """The fields that completions and chats share."""

    model: str | None = Field(None, max_length=4 * MAX_NAME, description="The served model, or NAME+REWARD=BETA.")
    steer: Terms | None = Field(None, description="Registered rewards: a number β each, or an object.")
    trimtab: TrimtabOptions | None = Field(None, description="What the response has besides.")
    best_of: int | None = Field(
        None, ge=1, le=MAX_COUNT, description="Drafts per prompt; needs best_of_reward. Default: as many as fit."
    )
    best_of_reward: RankingTerms | None = Field(None, description="Return the drafts that these rewards rank best.")
    rewind: RewindFields | None = Field(None, description="Search the text; one prompt, n of 1.")
    n: int | None = Field(1, ge=1, le=MAX_COUNT, description="Samples of each prompt.")
    temperature: float | None = Field(1.0, ge=0, le=2, description="Divides the steered logits; 0 is greedy.")
    top_p: float | None = Field(None, gt=0, le=1, description="Keep the fewest candidates with this probability.")
    top_k: int | None = Field(DEFAULT_TOP_K, ge=0, le=MAX_TOP_K, description="Candidates per token; 0 for no limit.")
    max_kl: float | None = Field(None, ge=0, le=MAX_NUMBER, description="Budget for steering, in nats per token.")
    speculate: str | None = Field(
        None, max_length=MAX_NAME, description="Draft tokens, if the server allows it: lookup or draft."
    )
    repetition_penalty: float | None = Field(
        None, ge=PENALTIES[0], le=PENALTIES[1], description="As in transformers; 1 for none."
    )
    seed: int | None = Field(None, ge=-MAX_INTEGER, le=MAX_INTEGER, description="The same seed gives the same text.")
    stop: Stops | None = Field(None, description="A string, or several, that end a text.")
    stream: bool | None = Field(False, description="Send tokens as server-sent events.")
    stream_options: StreamOptions | None = None
    frequency_penalty: Unused = Field(None, description="0 only.")
    presence_penalty: Unused = Field(None, description="0 only.")
    logit_bias: dict[str, float] | None = Field(None, max_length=0, description="Empty only.")
    user: str | None = Field(None, max_length=MAX_NAME, description="Accepted, and without effect.")


class CompletionRequest(SamplingFields):
    """The body of `POST /v1/completions`."""

    prompt: Prompts = Field(description="A text, token ids, or a list of either.")
    max_tokens: int | None = Field(None, ge=1, le=MAX_COUNT, description="Maximum number of new tokens. Default: 16.")
    logprobs: int | None = Field(None, ge=0, le=TEXT_LOGPROBS, description="Log-probabilities of so many candidates.")
    echo: bool | None = Field(False, description="Return the prompt in front of the text, with its log-probabilities.")
    suffix: None = None


class ChatMessage(Closed):
    """One message of a conversation. The fields that are null only are those of OpenAI's own answers."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Text
    refusal: None = None
    annotations: None = None
    audio: None = None
    function_call: None = None
    tool_calls: None = None


class ChatRequest(SamplingFields):
    """The body of `POST /v1/chat/completions`."""

    messages: Annotated[list[ChatMessage], FailFast()] = Field(
        min_length=1, description="The conversation; the last message is answered."
    )
    max_tokens: int | None = Field(None, ge=1, le=MAX_COUNT, description="Older name of max_completion_tokens.")
    max_completion_tokens: int | None = Field(None, ge=1, le=MAX_COUNT, description="Maximum number of new tokens.")
    logprobs: bool | None = Field(False, description="Return log-probabilities of the tokens.")
    top_logprobs: int | None = Field(None, ge=0, le=CHAT_LOGPROBS, description="Candidates per token; needs logprobs.")

    def conversation(self) -> list[dict[str, str]]:
        """The messages as chat templates take them."""
        roles = {"developer": "system"}
        return [{"role": roles.get(each.role, each.role), "content": each.content} for each in self.messages]


def field_names(schema: type[BaseModel]) -> Sequence[str]:
    """The fields of a schema, in order."""
    return list(schema.model_fields)
