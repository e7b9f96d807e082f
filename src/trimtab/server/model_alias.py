"""Model names: the served model, and aliases such as `smollm2+toxicity=-30` for gateways that drop unknown fields."""

import re

from trimtab.checking import shown
from trimtab.errors import InvalidSetting
from trimtab.server.api_errors import APIError, other_model
from trimtab.server.schemas import MAX_NAME, SteerTerm
from trimtab.steering.notation import parse_steer

JOINT = re.compile(r"\+(?=[^+=]+=)")  # the + before a NAME=; not the one of =+30


def alias_terms(model: str | None, served: str) -> list[tuple[str, SteerTerm]]:
    """The rewards that a model name steers by; none for the served model's own name, or for no name.

    Raises:
        APIError: 404, another model; 400, a steer of another form.
    """
    if model is None or model == served:
        return []
    if not model.startswith(f"{served}+"):
        raise other_model(model, f"{served}, or {served}+REWARD=BETA")
    return [_term(text) for text in JOINT.split(model[len(served) + 1 :])]


def _term(text: str) -> tuple[str, SteerTerm]:
    try:
        typed = parse_steer(text)
    except InvalidSetting as error:
        raise APIError(400, str(error), "model", "invalid_value") from error
    if len(typed.attribute or "") > MAX_NAME:
        message = f"got the attribute {shown(typed.attribute)}, expected at most {MAX_NAME} characters"
        raise APIError(400, message, "model", "invalid_value")
    return typed.reward, SteerTerm.model_validate({"beta": typed.beta, "attribute": typed.attribute})
