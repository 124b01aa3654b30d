"""Error responses of the pages' servers: JSON with one `error`, a sentence."""

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException  # the base of FastAPI's: unknown paths raise it

from dualipo.errors import DualipoError


def explain_errors(app: FastAPI) -> None:
    """Make the application answer errors with a sentence, never with a traceback."""

    @app.exception_handler(DualipoError)
    def refused(request: Request, error: DualipoError) -> JSONResponse:
        return JSONResponse({"error": str(error)}, status_code=503)

    @app.exception_handler(HTTPException)
    def stopped(request: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse(
            {"error": error.detail}, status_code=error.status_code, headers=error.headers
        )

    @app.exception_handler(RequestValidationError)
    def malformed(request: Request, error: RequestValidationError) -> JSONResponse:
        where = sorted({".".join(map(str, fault["loc"])) for fault in error.errors()})
        return JSONResponse(
            {"error": f"these fields are missing or malformed: {', '.join(where)}"}, status_code=422
        )
