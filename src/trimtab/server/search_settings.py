"""The settings of a search, from a request's fields."""

from typing import Any

from trimtab.errors import InvalidSetting
from trimtab.rewind.rewind_settings import RewindSettings
from trimtab.server.api_errors import APIError
from trimtab.server.schemas import SamplingFields

NO_SETTINGS = {"judge", "judge_rewards", "similarity", "max_seconds"}  # all other fields are those of RewindSettings


def search_settings(body: SamplingFields, limit: int) -> RewindSettings | None:
    """The settings of a request's search; None if it asks for none. Fields that it leaves out have the paper's values.

    Args:
        body: the request.
        limit: maximum number of new tokens.

    Raises:
        APIError: 400, settings that do not fit together.
    """
    if body.rewind is None:
        return None
    own = body.rewind.model_dump(exclude=NO_SETTINGS, exclude_none=True)
    given: dict[str, Any] = {"temperature": body.temperature, "max_kl": body.max_kl, "speculate": body.speculate}
    if "top_k" in body.model_fields_set:
        given["top_k"] = body.top_k
    try:
        return RewindSettings(max_new_tokens=limit, **own, **{k: v for k, v in given.items() if v is not None})
    except InvalidSetting as error:
        raise APIError(400, str(error), "rewind", "invalid_value") from error
