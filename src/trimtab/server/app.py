"""The web application: routes, their handlers, and errors in one shape."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

import trimtab
from trimtab.language_model import LanguageModel
from trimtab.server.api_errors import APIError, other_model
from trimtab.server.call import Intake
from trimtab.server.documented import COUNTERS, ERRORS
from trimtab.server.gate import Gate
from trimtab.server.generation_routes import add_generation_routes
from trimtab.server.http import error_response, json_response
from trimtab.server.json_bodies import OnceRoute
from trimtab.server.loading import with_prefix_cache
from trimtab.server.metrics import Metrics
from trimtab.server.page_files import add_page_routes
from trimtab.server.responses import Responses
from trimtab.server.reward_shelf import RegisteredReward, RewardShelf
from trimtab.server.scheduler import Scheduler
from trimtab.server.schema_faults import schema_error
from trimtab.server.schemas import ChatRequest, CompletionRequest, field_names
from trimtab.server.searches import Searches
from trimtab.server.server_settings import ServerSettings
from trimtab.server.state import ServerState

TELEMETRY = ("tracing", "metrics", "logs", "operation_spans", "auto_configure")
NO_TELEMETRY: dict[str, Any] = {"telemetry": dict.fromkeys(TELEMETRY, False)}  # an option of newer versions
BODIES: dict[str, type[BaseModel]] = {"/v1/completions": CompletionRequest, "/v1/chat/completions": ChatRequest}
STATUS_WORDS = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}


def create_app(
    lm: LanguageModel,
    served: str,
    rewards: Sequence[RegisteredReward] = (),
    settings: ServerSettings | None = None,
    api_key: str | None = None,
) -> FastAPI:
    """The application of one language model.

    Args:
        lm: writes all texts.
        served: its public name.
        rewards: what requests may steer by.
        settings: limits; host and port are the caller's business.
        api_key: guards every route but /health and the page's files; None for no key.
    """
    chosen = settings or ServerSettings()
    lm = with_prefix_cache(lm, chosen.prefix_cache)
    metrics = Metrics()
    shelf = RewardShelf(rewards)
    state = ServerState(
        lm=lm,
        intake=Intake(lm.engine, shelf, chosen, served),
        responses=Responses(lm.engine, served),
        scheduler=Scheduler(lm.engine, chosen.max_rows, chosen.max_queue, metrics),
        searches=Searches(lm, chosen.max_searches),
        metrics=metrics,
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        state.scheduler.start()
        yield
        state.searches.stop()
        state.scheduler.stop()

    app = FastAPI(
        title="trimtab",
        version=trimtab.__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        responses=ERRORS,
        **NO_TELEMETRY,  # it would record faults with their messages, which quote requests
    )
    app.router.route_class = OnceRoute
    add_generation_routes(app, state)
    add_list_routes(app, state, served, shelf)
    add_page_routes(app)
    add_error_handlers(app)
    hosts = chosen.own_names if api_key is None else frozenset[str]()
    app.add_middleware(Gate, api_key=api_key, max_body=chosen.max_body, metrics=metrics, hosts=hosts)
    if chosen.cors_origin:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(chosen.cors_origin),
            allow_methods=["GET", "POST"],
            allow_headers=["*"],  # OpenAI's client for JavaScript sends a dozen of its own
        )
    app.state.trimtab = state
    return app


def add_list_routes(app: FastAPI, state: ServerState, served: str, shelf: RewardShelf) -> None:
    """Models, rewards, health and metrics."""

    def listed(data: list[dict[str, Any]]) -> Response:
        return json_response({"object": "list", "data": data})

    about = {"id": served, "object": "model", "created": state.started, "owned_by": "trimtab"}

    @app.get("/v1/models")
    async def models() -> Response:
        """The served model."""
        return listed([about])

    @app.get("/v1/models/{model:path}")
    async def named_model(model: str) -> Response:
        """The served model by its name, which may have slashes."""
        if model != served:
            raise other_model(model, served)
        return json_response(about)

    @app.get("/v1/rewards")
    async def rewards() -> Response:
        """The rewards that requests may name."""
        return listed(shelf.about())

    @app.get("/health")
    async def health() -> Response:
        """200 while the scheduler runs, else 503."""
        alive = state.scheduler.alive
        return json_response({"status": "ok" if alive else "stopped"}, 200 if alive else 503)

    @app.get("/metrics", responses=COUNTERS, response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Counters in Prometheus' text format."""
        return Response(state.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def add_error_handlers(app: FastAPI) -> None:
    """Answer every fault in OpenAI's shape."""

    @app.exception_handler(RequestValidationError)
    async def misfit(request: Request, error: RequestValidationError) -> Response:
        return error_response(schema_error(error.errors(), field_names(BODIES[request.url.path])))

    @app.exception_handler(APIError)
    async def told(request: Request, error: APIError) -> Response:
        return error_response(error)

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        message = f"{request.method} {request.url.path[:100]}: {error.detail}"
        code = STATUS_WORDS.get(error.status_code)
        return error_response(APIError(error.status_code, message, code=code, headers=error.headers))
