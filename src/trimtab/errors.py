"""Every error that trimtab raises on purpose.

    TrimtabError
    ├── ModelNotFound           no language model under that name
    ├── UnsupportedModel        the model cannot be steered
    ├── UnsupportedByEngine     the engine lacks a capability that the call needs
    ├── RewardNotFound          no reward under that name
    ├── RewardMismatch          the reward does not belong to this language model
    ├── UnknownAttribute        the reward has no attribute of that name
    ├── InvalidSetting          a number or a choice out of its range (also a ValueError)
    │   └── WrongType           an argument of another type (also a TypeError)
    ├── InvalidPrompt           empty, or longer than the context
    ├── InvalidData             an input file or data set that cannot be used
    ├── InvalidOutput           an output path that cannot be written, or must not be replaced
    ├── UploadFailed            the Hub did not take a reward: offline, no token, or refused
    ├── NonFiniteReward         a reward that is NaN or infinite while it steers
    ├── NonFiniteLogits         the language model gives NaN or infinite logits
    ├── TrainingDiverged        training left the finite numbers
    ├── CorruptReward           a reward folder that is damaged or incomplete
    └── CorruptCheckpoint       a training run's checkpoint that is damaged

Messages are one line: what was got, what was expected, what to do.
"""

NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")  # how torch says it


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception, of Python or of torch, says that memory is short. It is nobody's damaged file."""
    if isinstance(error, TrimtabError):  # ours quote what users write
        return False
    return isinstance(error, MemoryError) or any(words in str(error).lower() for words in NO_MEMORY)


class TrimtabError(Exception):
    """The root: catch this to catch everything that trimtab raises on purpose."""


class ModelNotFound(TrimtabError):
    """No language model under that name."""


class UnsupportedModel(TrimtabError):
    """The model cannot be steered: the architecture, the attention, or the weights do not allow it."""


class UnsupportedByEngine(TrimtabError):
    """The engine lacks a capability that the call needs."""


class RewardNotFound(TrimtabError):
    """No reward under that name."""


class RewardMismatch(TrimtabError):
    """The reward was trained for another tokenizer or another base."""


class UnknownAttribute(TrimtabError):
    """The reward has no attribute of that name."""


class InvalidSetting(TrimtabError, ValueError):
    """A number or a choice out of its range."""


class WrongType(InvalidSetting, TypeError):
    """An argument of another type."""


class InvalidPrompt(TrimtabError):
    """A prompt that is empty, or longer than the context."""


class InvalidData(TrimtabError):
    """An input file or data set that cannot be used."""


class InvalidOutput(TrimtabError):
    """An output path that cannot be written, or must not be replaced."""


class UploadFailed(TrimtabError):
    """The Hub did not take a reward: offline, no token, or refused."""


class NonFiniteReward(TrimtabError):
    """A reward that is NaN or infinite while it steers."""


class NonFiniteLogits(TrimtabError):
    """The language model gives NaN or infinite logits."""


class TrainingDiverged(TrimtabError):
    """The loss or a weight is no longer finite."""


class CorruptReward(TrimtabError):
    """A reward folder that is damaged or incomplete."""


class CorruptCheckpoint(TrimtabError):
    """A training run's checkpoint that is damaged."""
