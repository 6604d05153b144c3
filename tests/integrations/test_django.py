"""An application written with Django, which knows neither a lifespan nor websockets."""

import asyncio
import json
from collections.abc import Iterator
from hashlib import sha256
from typing import Any, ClassVar

import django
import pytest
from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path
from django.utils.deprecation import MiddlewareMixin

from tests.integrations.behaviours import Behaviour, behaviours
from tests.integrations.site import Framework, Probe, Seen, Sites, seen_by_application, seen_with


class TeapotError(Exception):
    """Raised by a view, answered by the application's middleware."""


class Teapots(MiddlewareMixin):  # type: ignore[misc]  # Django has no types
    """Django's way to answer exceptions."""

    def process_exception(self, _: HttpRequest, exception: Exception) -> HttpResponse | None:
        return HttpResponse("our own 418", status=418) if isinstance(exception, TeapotError) else None


async def page(_: HttpRequest) -> HttpResponse:
    return HttpResponse("<h1>hello</h1>")


async def items(request: HttpRequest) -> HttpResponse:
    return JsonResponse(json.loads(request.body), safe=False)


async def seen(request: Any) -> HttpResponse:
    return JsonResponse({**seen_by_application(request), "remote": request.META["REMOTE_ADDR"]})


def upload(request: HttpRequest) -> HttpResponse:
    """Runs on a thread, as most of Django's views do."""
    file: Any = request.FILES["file"]
    content = file.read()
    return JsonResponse({"name": file.name, "size": len(content), "sha256": sha256(content).hexdigest()})


async def stream(request: Any) -> StreamingHttpResponse:
    return StreamingHttpResponse(seen_with(request).stream())


async def release(request: Any) -> HttpResponse:
    seen_with(request).released.set()
    return HttpResponse()


async def login(request: Any) -> HttpResponse:
    await request.session.aset(SESSION_KEY, "ann")
    return HttpResponse()


async def boom(_: HttpRequest) -> HttpResponse:
    raise ZeroDivisionError("the application's own")


async def teapot(_: HttpRequest) -> HttpResponse:
    raise TeapotError


async def openapi(_: HttpRequest) -> HttpResponse:
    paths = {"/": {"get": {"responses": {"200": {"description": "a page"}}}}}
    await asyncio.sleep(0)  # it has to wait for something, as views do
    return JsonResponse({"openapi": "3.1.0", "info": {"title": "app", "version": "1"}, "paths": paths})


def saying(text: str, status: int = 200) -> Any:
    return lambda *_, **__: HttpResponse(text, status=status)


class Urls:
    """What Django otherwise reads from a module."""

    urlpatterns: ClassVar = [
        path("", page),
        path("items", items),
        path("seen", seen),
        path("upload", upload),
        path("stream", stream),
        path("release", release),
        path("state", saying("none")),
        path("limited", saying("limited")),
        path("internal/users", saying("secret")),
        path("login", login),
        path("boom", boom),
        path("teapot", teapot),
        path("openapi.json", openapi),
    ]
    handler404 = saying("our own 404", 404)
    handler500 = saying("our own 500", 500)


def build(record: Seen) -> Any:
    """Return the application."""
    if not settings.configured:
        settings.configure(
            ALLOWED_HOSTS=["*"],
            LOGGING_CONFIG=None,
            MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware", f"{__name__}.Teapots"],
            ROOT_URLCONF=Urls,
            SECRET_KEY="for these tests only",
            SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
        )
        django.setup()
    return Probe(get_asgi_application(), record)


DJANGO = Framework("Django", build, account=1)


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    with Sites(DJANGO, tmp_path_factory.mktemp("django")) as found:
        yield found


@pytest.mark.parametrize("behaviour", behaviours("session"))
def test_django(behaviour: Behaviour, sites: Sites) -> None:
    behaviour(sites)
