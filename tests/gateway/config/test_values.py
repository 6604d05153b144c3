import json
from ipaddress import ip_network
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from aupgate.config import AgentPattern, ListenAddress, MediaType, Method, Network, PathTemplate, UpstreamUrl
from aupgate.config.values import HostName


@pytest.mark.parametrize(
    ("notation", "written", "value"),
    [
        pytest.param(Network, "10.0.0.0/8", ip_network("10.0.0.0/8"), id="IPv4 network"),
        pytest.param(Network, "192.0.2.7", ip_network("192.0.2.7/32"), id="IPv4 address"),
        pytest.param(Network, "0.0.0.0/0", ip_network("0.0.0.0/0"), id="every IPv4 address"),
        pytest.param(Network, "2001:db8::/32", ip_network("2001:db8::/32"), id="IPv6 network"),
        pytest.param(Network, "::1", ip_network("::1/128"), id="IPv6 address"),
        pytest.param(PathTemplate, "/", "/", id="root"),
        pytest.param(PathTemplate, "/api/{id}/{rest:path}", "/api/{id}/{rest:path}", id="parameters"),
        pytest.param(PathTemplate, "/100%25/file.txt", "/100%25/file.txt", id="encoded percent sign"),
        pytest.param(UpstreamUrl, "http://127.0.0.1:8000/", "http://127.0.0.1:8000", id="http"),
        pytest.param(UpstreamUrl, "https://app.example.com", "https://app.example.com", id="https"),
        pytest.param(UpstreamUrl, "http://[::1]:8000", "http://[::1]:8000", id="upstream on IPv6"),
        pytest.param(UpstreamUrl, "unix:/run/app.sock", "unix:/run/app.sock", id="upstream on a unix socket"),
        pytest.param(HostName, "app_1.internal", "app_1.internal", id="host"),
        pytest.param(ListenAddress, "127.0.0.1:0", "127.0.0.1:0", id="any free port"),
        pytest.param(ListenAddress, "localhost:8080", "localhost:8080", id="name"),
        pytest.param(ListenAddress, "[::]:65535", "[::]:65535", id="listen on IPv6"),
        pytest.param(ListenAddress, "unix:/run/a b.sock", "unix:/run/a b.sock", id="listen on a unix socket"),
        pytest.param(MediaType, "Application/JSON", "application/json", id="media type"),
        pytest.param(MediaType, "image/*", "image/*", id="media types"),
        pytest.param(Method, "PROPFIND", "PROPFIND", id="method"),
        pytest.param(AgentPattern, "^Example(App)?/[0-9]+", "^Example(App)?/[0-9]+", id="agent"),
    ],
)
def test_a_notation_is_understood(notation: Any, written: str | int, value: object) -> None:
    assert TypeAdapter(notation).validate_json(json.dumps(written), strict=True) == value


@pytest.mark.parametrize(
    ("notation", "written", "expected"),
    [
        pytest.param(Network, "10.0.0.1/8", 'expected "10.0.0.0/8" or "10.0.0.1"', id="bits behind the prefix"),
        pytest.param(Network, "10.0.0.0/33", "10.0.0.0/8", id="prefix too long"),
        pytest.param(Network, "example.com", "10.0.0.0/8", id="name is no network"),
        pytest.param(Network, "fe80::1%eth0", "10.0.0.0/8", id="zone"),
        pytest.param(Network, 167772160, "10.0.0.0/8", id="address as a number"),
        pytest.param(HostName, "app.internal:443", "name of a host", id="host with a port"),
        pytest.param(HostName, "", "name of a host", id="no host"),
        pytest.param(PathTemplate, "api", 'begins with "/"', id="relative path"),
        pytest.param(PathTemplate, "/a?b=c", 'begins with "/"', id="path with a query"),
        pytest.param(PathTemplate, "/{a", 'begins with "/"', id="open brace"),
        pytest.param(PathTemplate, "/{a:file}", 'begins with "/"', id="unknown kind of parameter"),
        pytest.param(PathTemplate, "/{a}/{a:int}", "'a' twice", id="same name twice"),
        pytest.param(PathTemplate, "/{a:path}/{b:path}", "two path placeholders", id="two rests"),
        pytest.param(PathTemplate, "/%7Eme/file.txt", "write '/~me/file.txt'", id="encoded without need"),
        pytest.param(PathTemplate, "/api/../internal", "write '/internal'", id="dot segments"),
        pytest.param(UpstreamUrl, "127.0.0.1:8000", '"http://host:port"', id="no scheme"),
        pytest.param(UpstreamUrl, "http://host/base", '"http://host:port"', id="path"),
        pytest.param(UpstreamUrl, "http://user@host", '"http://host:port"', id="user"),
        pytest.param(UpstreamUrl, "http://host:99999", '"http://host:port"', id="upstream port too high"),
        pytest.param(UpstreamUrl, "http://:80", '"http://host:port"', id="no host"),
        pytest.param(UpstreamUrl, "unix:app.sock", '"http://host:port"', id="relative socket"),
        pytest.param(ListenAddress, "8080", '"host:port"', id="port alone"),
        pytest.param(ListenAddress, ":8080", '"host:port"', id="no host to listen on"),
        pytest.param(ListenAddress, "::1:8080", '"host:port"', id="IPv6 without brackets"),
        pytest.param(ListenAddress, "[1::2::3]:80", '"host:port"', id="no IPv6 address"),
        pytest.param(ListenAddress, "localhost:65536", "from 0 to 65535", id="port too high"),
        pytest.param(MediaType, "json", '"application/json"', id="half a media type"),
        pytest.param(MediaType, "text/html; charset=utf-8", '"application/json"', id="parameter"),
        pytest.param(Method, "get", '"GET"', id="lower case"),
        pytest.param(AgentPattern, "(", "that RE2 compiles: missing )", id="open group"),
        pytest.param(AgentPattern, "a(?=b)", "that RE2 compiles", id="look-ahead"),
        pytest.param(AgentPattern, "", '"^ExampleApp/"', id="empty pattern"),
    ],
)
def test_what_is_not_in_the_notation_is_refused_with_an_example(notation: Any, written: object, expected: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(notation).validate_json(json.dumps(written), strict=True)
    assert expected in caught.value.errors()[0]["msg"]
