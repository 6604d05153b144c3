"""The pages that people see: home, sign-in and profile."""

import hmac
import secrets
from html import escape
from pathlib import Path
from string import Template
from typing import Final

from starlette.endpoints import HTTPEndpoint
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from examples.saas.bodies import read_form, text
from examples.saas.state import state_of

FOLDER: Final = Path(__file__).parent
TEMPLATES: Final = {path.stem: Template(path.read_text("utf-8")) for path in FOLDER.glob("templates/*.html")}
DEMO_EMAIL: Final = "demo@example.com"
DEMO_PASSWORD: Final = "demo"  # noqa: S105 - published, it protects nothing
SESSION_SECONDS: Final = 8 * 3600


def page(name: str, title: str, status: int = 200, **values: str) -> HTMLResponse:
    """Render the template `name` inside the layout, every value escaped."""
    content = TEMPLATES[name].substitute({key: escape(value) for key, value in values.items()})
    return HTMLResponse(TEMPLATES["layout"].substitute(title=escape(title), content=content), status)


async def home(_: Request) -> Response:
    """Show the page that uses every interface."""
    return page("home", "Overview")


class Login(HTTPEndpoint):
    """`/login`: the demo user signs in here."""

    async def get(self, _: Request) -> Response:
        """Show the form."""
        return page("login", "Sign in", error="")

    async def post(self, request: Request) -> Response:
        """Start a session; 401 with the form again when the credentials are wrong."""
        fields = await read_form(request)
        if not _credentials_match(fields.get("email", ""), fields.get("password", "")):
            return page("login", "Sign in", 401, error="This e-mail address and password do not match.")
        token = secrets.token_urlsafe(24)
        state_of(request).sessions.keep(token, DEMO_EMAIL)
        response = RedirectResponse("/profile", 303)
        secure = request.url.scheme == "https"
        response.set_cookie("session", token, SESSION_SECONDS, secure=secure, httponly=True, samesite="lax")
        return response


async def logout(request: Request) -> Response:
    """End the session."""
    state_of(request).sessions.pop(request.cookies.get("session", ""), None)
    response = RedirectResponse("/", 303)
    response.delete_cookie("session")
    return response


class EditProfile(HTTPEndpoint):
    """`/profile`: how the signed-in user appears to others."""

    async def get(self, request: Request) -> Response:
        """Show the profile and its form; who is not signed in goes to the sign-in page."""
        if not _signed_in(request):
            return RedirectResponse("/login", 303)
        profile = state_of(request).profile
        return page("profile", "Profile", email=DEMO_EMAIL, display_name=profile.display_name, about=profile.about)

    async def post(self, request: Request) -> Response:
        """Change the profile; 401 for who is not signed in."""
        if not _signed_in(request):
            raise HTTPException(401, "sign in at '/login' to change a profile")
        fields = await read_form(request)
        display_name, about = text(fields, "display_name", 80), text(fields, "about", 2000, shortest=0)
        profile = state_of(request).profile
        profile.display_name, profile.about = display_name, about
        return RedirectResponse("/profile", 303)


async def refused(request: Request, error: Exception) -> Response:
    """Answer an error as JSON, or as a page where the client asks for one."""
    if not isinstance(error, HTTPException):
        raise error
    if "text/html" not in request.headers.get("accept", ""):
        return JSONResponse({"error": error.detail}, error.status_code, error.headers)
    response = page("error", "Not possible", error.status_code, detail=error.detail)
    response.headers.update(error.headers or {})
    return response


async def abandoned(_request: Request, _error: Exception) -> Response:
    """Answer a client that left while it was still sending; nobody reads this."""
    return Response(status_code=400)


def _credentials_match(email: str, password: str) -> bool:
    return hmac.compare_digest(f"{email}\n{password}".encode(), f"{DEMO_EMAIL}\n{DEMO_PASSWORD}".encode())


def _signed_in(request: Request) -> bool:
    return request.cookies.get("session", "") in state_of(request).sessions
