"""`headers`: what only proxies may set never reaches the application, whatever its spelling."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from aupgate.model import Action, Client, Finding, Request, ResponseEdits
from aupgate.policies.headers import Headers, Settings
from tests.gateway.scripted import a_request
from tests.policies import spoofed

HEADERS = Headers(Settings())
PROXIED = Client("192.0.2.7", "192.0.2.7", "10.0.0.1", hops=("10.0.0.1",))

FORWARDING = [
    b"x-forwarded-for", b"X-Forwarded-For", b"X_FORWARDED_FOR", b"x.forwarded.for", b"x--forwarded--for",
    b"x-forwarded_for", b"x-forwarded-for ", b"x-forwarded-for-", b"-x-forwarded-for", b"x~forwarded~for",
    b"x-forwarded-host", b"x-forwarded-proto", b"x-forwarded-port", b"x-forwarded-prefix", b"x-forwarded-server",
    b"x-forwarded-anything-new", b"X-Forwarded", b"forwarded", b"Forwarded", b"forwarded-for", b"x-real-ip",
    b"X_Real_IP", b"x-client-ip", b"client-ip", b"x-cluster-client-ip", b"true-client-ip", b"True_Client.IP",
    b"cf-connecting-ip", b"cf-connecting-ipv6", b"fastly-client-ip", b"x-azure-clientip", b"x-azure-socketip",
    b"x-appengine-user-ip", b"x-original-forwarded-for", b"x-originating-ip", b"x-remote-ip", b"x-remote-addr",
    b"fly-client-ip", b"do-connecting-ip", b"x-envoy-external-address", b"cloudfront-viewer-address",
    b"wl-proxy-client-ip", b"front-end-https", b"x-host", b"x-scheme",
]  # fmt: skip
IDENTITY = [
    b"remote-user", b"Remote_User", b"x-remote-user", b"X_REMOTE_USER", b"x-remote-group", b"x-remote-extra-scopes",
    b"x-auth-request-user", b"x-auth-request-email", b"x-webauth-user", b"x-authenticated-user", b"x-authentik-uid",
    b"x-goog-authenticated-user-email", b"x-goog-iap-jwt-assertion", b"x-ms-client-principal",
    b"x-ms-client-principal-id", b"x-amzn-oidc-data", b"cf-access-authenticated-user-email", b"tailscale-user-login",
    b"oidc_claim_sub", b"shib-session-id", b"sm_user", b"iv-user", b"x-ssl-client-cert", b"x-ssl-client-s-dn",
    b"ssl-client-verify", b"x-client-cert", b"client-cert", b"client-cert-chain", b"x-client-verify",
    b"x-consumer-username", b"x-credential-identifier", b"x-anonymous-consumer", b"x-userinfo",
]  # fmt: skip
OVERRIDE = [
    b"x-original-url", b"X_Original_URL", b"x-rewrite-url", b"x-original-uri", b"x-http-method-override",
    b"X-HTTP-Method_Override", b"x-http-method", b"x-method-override", b"x-http-host-override", b"proxy", b"Proxy",
    b"x-middleware-subrequest", b"script-name", b"Script_Name", b"path-info", b"x-script-name", b"x-sendfile-type",
    b"x-accel-mapping",
]  # fmt: skip
INTERNAL = [
    b"x-debug", b"X_Debug", b"x-debug-token", b"x-profiler", b"xdebug_session", b"x-blackfire-query", b"x-clockwork-id",
    b"x-internal", b"x-internal-user", b"HTTP_X_DEBUG",
]  # fmt: skip
ALIAS = [
    b"Content_Type", b"content.length", b"transfer_encoding", b"-transfer-encoding", b"host-", b"Authorization_",
    b"cookie ", b"user_agent", b"content--type",
]  # fmt: skip
OWN = [b"x-request-id", b"X_Request_ID", b"x-aupgate-account", b"aupgate-standing"]
LEGITIMATE = [
    b"host", b"via", b"cookie", b"authorization", b"proxy-authorization", b"origin", b"referer", b"user-agent",
    b"x-requested-with", b"x-csrf-token", b"x-api-key", b"x-correlation-id", b"traceparent", b"x-request-start",
    b"x-forward-thinking", b"x-forwarding-address", b"x-real-estate", b"x-really-ip", b"forwarded-by-app",
    b"x-user", b"x-user-id", b"x-username", b"x-client-id", b"x-client-version", b"x-client-ipad", b"x-original-name",
    b"x-rewrite-rules", b"x-http-methodology", b"x-remoteness", b"remote-control", b"x-auth-token", b"x-auth-user",
    b"x-authorization", b"x-hostname", b"x-schema", b"x-ssleay", b"client-hints", b"client-certainty", b"proxima",
    b"cf-ray", b"x-amz-date", b"x-goog-api-key", b"x-ms-version", b"x-middleware-prefetch", b"x-forwardedfor",
    b"if-none-match", b"sec-fetch-site", b"content-type", b"x-shipping", b"smart-user",
]  # fmt: skip


def sent(*names: bytes, client: Client | None = None) -> Request:
    request = a_request(headers=[(b"host", b"app.example"), *((name, b"203.0.113.66") for name in names)])
    if client is not None:
        request.client = client
    return request


def through(policy: Headers, request: Request) -> tuple[list[bytes], list[str]]:
    """Return the names that reach the application besides Host, and the rules that noted something."""
    edits = policy.sanitise(request)
    if not edits:
        return [name for name, _ in request.headers[1:]], []
    headers = list(request.headers)
    for each in edits:
        headers = each.apply(headers)
    return [name for name, _ in headers[1:]], [finding.rule for each in edits for finding in each.findings]


@pytest.mark.parametrize("name", [*FORWARDING, *IDENTITY])
def test_a_client_cannot_claim_another_address_or_identity(name: bytes) -> None:
    assert through(HEADERS, sent(name)) == ([], ["headers.spoofed"])


@pytest.mark.parametrize("name", OVERRIDE)
def test_a_client_cannot_replace_the_method_or_url_that_was_judged(name: bytes) -> None:
    assert through(HEADERS, sent(name)) == ([], ["headers.override"])


@pytest.mark.parametrize("name", INTERNAL)
def test_a_client_cannot_speak_to_debuggers_or_as_a_neighbour(name: bytes) -> None:
    assert through(HEADERS, sent(name)) == ([], ["headers.internal"])


@pytest.mark.parametrize("name", ALIAS)
def test_a_spelling_that_passes_for_a_field_that_is_judged_is_taken(name: bytes) -> None:
    assert through(HEADERS, sent(name)) == ([], ["headers.alias"])


@pytest.mark.parametrize("name", [b"Content-Type", b"content-type", b"COOKIE", b"HTTP-Referer", b"te", b"Hosts"])
def test_the_field_itself_stays(name: bytes) -> None:
    assert through(HEADERS, sent(name)) == ([name], [])


@pytest.mark.parametrize("name", spoofed.SPOOFED)
def test_no_spoofed_field_of_the_table_is_left(name: bytes) -> None:
    assert through(HEADERS, sent(name))[0] == []


@pytest.mark.parametrize("name", spoofed.LEGITIMATE)
def test_every_legitimate_field_of_the_table_is_left(name: bytes) -> None:
    assert list(HEADERS.sanitise(sent(name))) == []


@pytest.mark.parametrize("name", OWN)
def test_the_gateways_own_fields_are_taken_without_blame(name: bytes) -> None:
    assert through(HEADERS, sent(name)) == ([], [])


@pytest.mark.parametrize("name", LEGITIMATE)
def test_a_legitimate_field_of_a_similar_name_passes(name: bytes) -> None:
    assert list(HEADERS.sanitise(sent(name))) == []


def test_order_and_duplicates_of_what_stays_are_kept() -> None:
    request = sent(b"cookie", b"X-Forwarded-For", b"accept", b"cookie", b"x-forwarded-for", b"proxy")
    assert through(HEADERS, request)[0] == [b"cookie", b"accept", b"cookie"]


def notes(*names: bytes) -> dict[str, Finding]:
    edits = HEADERS.sanitise(sent(*names))
    return {finding.rule: finding for each in edits for finding in each.findings}


def test_a_note_lists_the_names_once_and_never_a_value() -> None:
    found = notes(b"X-Forwarded-For", b"X-Forwarded-For", b"x_real_ip", b"x-remote-user", b"X-Original-URL")
    assert found["headers.spoofed"].evidence == {"names": ["X-Forwarded-For", "x_real_ip", "x-remote-user"]}
    assert found["headers.override"].evidence == {"names": ["X-Original-URL"]}
    assert {finding.action for finding in found.values()} == {Action.NOTE}
    assert "203.0.113.66" not in repr(found)


def test_a_note_is_short_however_much_was_sent() -> None:
    found = notes(*(b"x-forwarded-%d" % number + b"x" * 5000 for number in range(200)))
    assert len(repr(found["headers.spoofed"].evidence)) < 2000


@pytest.mark.parametrize("name", FORWARDING)
def test_forwarding_fields_of_a_trusted_proxy_are_taken_without_blame(name: bytes) -> None:
    assert through(HEADERS, sent(name, client=PROXIED)) == ([], [])


@pytest.mark.parametrize("name", IDENTITY)
def test_an_identity_from_a_trusted_proxy_is_not_believed_unasked(name: bytes) -> None:
    assert through(HEADERS, sent(name, client=PROXIED)) == ([], ["headers.spoofed"])


def test_a_kept_identity_is_kept_from_a_trusted_proxy_only() -> None:
    keeping = Headers(Settings(keep=("x-remote-user", "X-Forwarded-*")))
    request = sent(b"X_Remote_User", b"x-remote-group", b"x-forwarded-prefix", client=PROXIED)
    assert through(keeping, request) == ([b"X_Remote_User", b"x-forwarded-prefix"], ["headers.spoofed"])
    assert through(keeping, sent(b"x-remote-user", b"x-forwarded-prefix")) == ([], ["headers.spoofed"])


def test_a_kept_override_or_own_field_is_kept_from_everyone() -> None:
    keeping = Headers(Settings(keep=("x-http-method-override", "x-request-id")))
    names = [b"X-HTTP-Method-Override", b"x-request-id"]
    assert through(keeping, sent(*names)) == (names, [])


def test_further_fields_are_stripped_by_name_and_by_beginning() -> None:
    stripping = Headers(Settings(strip=("X-User-Id", "x-tenant-*")))
    request = sent(b"x_user_id", b"x-tenant-name", b"X.Tenant.Plan", b"x-tenant", b"x-user-idle")
    assert through(stripping, request) == ([b"x-tenant", b"x-user-idle"], ["headers.spoofed"])


@pytest.mark.parametrize(
    "settings",
    [
        {"strip": ["*"]},
        {"strip": ["-*"]},
        {"keep": ["x user"]},
        {"keep": [""]},
        {"strip": ["x-*-id"]},
        {"hosts": ["http://app.example"]},
        {"hosts": ["*"]},
        {"hosts": ["app.example/"]},
        {"host": ["app.example"]},
        {"add": {"x gateway": "a"}},
        {"add": {"x_gateway": "a"}},
        {"add": {"x-gateway": ""}},
        {"add": {"x-gateway": "a\r\nb: c"}},
        {"add": {"Host": "a"}},
        {"add": {"x-forwarded-for": "a"}},
        {"add": {"x-request-id": "a"}},
        {"add": {"content-length": "1"}},
        {"hsts": "31536000"},
        {"hsts": "max-age=1; always"},
        {"response_strip": ["*"]},
    ],
    ids=repr,
)
def test_a_setting_that_would_not_do_what_it_says_is_refused(settings: dict[str, list[str]]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate(settings)


HOSTS = ["app.example", "*.shop.example", "admin.example:8443", "[2001:db8::1]"]


@pytest.mark.parametrize(
    "host",
    [
        b"app.example", b"APP.example", b"app.example:8080", b"app.example.", b"a.shop.example", b"a.b.shop.example:80",
        b"admin.example:8443", b"[2001:db8::1]", b"[2001:DB8::1]:443",
    ],
)  # fmt: skip
def test_a_host_that_is_served_passes(host: bytes) -> None:
    policy = Headers(Settings.model_validate({"hosts": HOSTS}))
    assert list(policy.on_request(a_request(headers=[(b"host", host)]))) == []


@pytest.mark.parametrize(
    "host",
    [
        b"other.example", b"xapp.example", b"app.example.evil.example", b"shop.example", b"evilshop.example", b"",
        b"admin.example", b"admin.example:443", b"[2001:db8::2]", b"2001:db8::1", b"\xff",
    ],
)  # fmt: skip
def test_another_host_is_refused_when_hosts_are_listed(host: bytes) -> None:
    policy = Headers(Settings.model_validate({"hosts": HOSTS}))
    (refusal,) = policy.on_request(a_request(headers=[(b"host", host)]))
    assert (refusal.rule, refusal.action, refusal.status) == ("headers.host", Action.REFUSE, 400)


def test_a_request_without_host_is_refused_when_hosts_are_listed() -> None:
    policy = Headers(Settings.model_validate({"hosts": HOSTS}))
    assert len(policy.on_request(a_request(headers=[]))) == 1


def test_any_host_passes_when_none_is_listed() -> None:
    assert list(HEADERS.on_request(a_request(headers=[(b"host", b"other.example")]))) == []


def test_what_a_trusted_proxy_says_and_cannot_be_read_is_noted() -> None:
    odd = Client("10.0.0.1", "10.0.0.1", "10.0.0.1", certain=False, fault="x-forwarded-for: 'x' is no address")
    for policy in (HEADERS, Headers(Settings(hosts=("app.example",)))):
        (note,) = policy.on_request(sent(client=odd))
        assert (note.rule, note.action, note.status) == ("headers.forwarding", Action.NOTE, 0)
        assert note.evidence == {"fault": "x-forwarded-for: 'x' is no address"}
    elsewhere = Headers(Settings(hosts=("other.example",)))
    assert [found.rule for found in elsewhere.on_request(sent(client=odd))] == ["headers.forwarding", "headers.host"]


# -- what is added, and what Connection names --------------------------------------------------------------------------


def test_fields_are_added_and_copies_of_clients_are_taken_without_blame() -> None:
    adding = Headers(Settings(add={"X-Gateway": "aupgate", "x-env": "live"}))
    request = sent(b"X_Gateway", b"x-env", b"HTTP-X-Gateway", b"x-gateway-note")
    assert through(adding, request) == ([b"x-gateway-note", b"x-gateway", b"x-env"], [])
    (edits,) = adding.sanitise(request)
    assert edits.add == ((b"x-gateway", b"aupgate"), (b"x-env", b"live"))
    assert edits.rule == ""  # the copies go and the fields come together, or not at all


def test_a_field_that_is_added_replaces_a_spoofed_one() -> None:
    adding = Headers(Settings(add={"x-remote-user": "service"}))
    assert through(adding, sent(b"X-Remote_User")) == ([b"x-remote-user"], ["headers.spoofed"])


def connected(value: bytes, *names: bytes, **settings: object) -> list[bytes]:
    request = a_request(headers=[(b"host", b"a"), (b"connection", value), *((name, b"1") for name in names)])
    return through(Headers(Settings.model_validate(settings)), request)[0]


def test_what_connection_names_is_taken_and_with_it_connection() -> None:
    assert connected(b"close, X-Mine", b"x-mine", b"x-other") == [b"x-other"]


@pytest.mark.parametrize("name", [b"cookie", b"authorization", b"x-api-key", b"content-type"])
def test_what_tells_who_asks_for_what_cannot_be_named_away(name: bytes) -> None:
    assert connected(b"close, " + name, name) == [name]


@pytest.mark.parametrize("value", [b"keep-alive", b"close", b"Upgrade", b"keep-alive, Upgrade", b"TE"])
def test_an_ordinary_connection_field_stays(value: bytes) -> None:
    assert connected(value, b"x-mine") == [b"connection", b"x-mine"]


def test_neither_an_added_nor_a_kept_field_can_be_named_away() -> None:
    assert connected(b"x-gateway", add={"x-gateway": "1"}) == [b"x-gateway"]
    assert connected(b"x-debug", b"x-debug", keep=["x-debug"]) == [b"x-debug"]


# -- responses ---------------------------------------------------------------------------------------------------------


def declared(**settings: object) -> dict[str, ResponseEdits]:
    return {edits.rule: edits for edits in Headers(Settings.model_validate(settings)).response_edits()}


def test_without_configuration_banners_go_and_transport_security_comes_over_https_only() -> None:
    edits = declared()
    assert set(edits) == {"headers.banner", "headers.hsts"}
    assert {"server", "x-powered-by", "x-aspnet-version", "x-debug-*"} <= set(edits["headers.banner"].strip)
    assert edits["headers.hsts"].add == ((b"strict-transport-security", b"max-age=31536000"),)
    assert edits["headers.hsts"].secure


def test_what_responses_lose_and_get_is_configurable() -> None:
    edits = declared(response_strip=["x-team"], response_keep=["server"], hsts="", nosniff=True)
    assert set(edits) == {"headers.banner", "headers.nosniff"}
    assert "x-team" in edits["headers.banner"].strip
    assert edits["headers.banner"].keep == ("server",)
    assert edits["headers.nosniff"].add == ((b"x-content-type-options", b"nosniff"),)
    assert not edits["headers.nosniff"].secure


@pytest.mark.parametrize("settings", [{}, {"hsts": "", "nosniff": True}, {"nosniff": True}], ids=repr)
def test_every_edit_of_responses_has_a_rule_that_can_be_turned_off(settings: dict[str, object]) -> None:
    assert set(declared(**settings)) <= {rule.name for rule in Headers(Settings.model_validate(settings)).rules}


@given(st.lists(st.sampled_from([*FORWARDING, *IDENTITY, *OVERRIDE, *INTERNAL, *ALIAS, *OWN, *LEGITIMATE])))
def test_whatever_is_sent_together_only_what_is_legitimate_arrives(names: list[bytes]) -> None:
    assert through(HEADERS, sent(*names))[0] == [name for name in names if name in LEGITIMATE]


@given(st.binary())
def test_any_name_is_judged(name: bytes) -> None:
    HEADERS.sanitise(sent(name))
