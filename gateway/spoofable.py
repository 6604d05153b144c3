"""Tables of header fields: those of requests that clients must not set, and those of responses that tell too much.

Names are folded (`aupgate.fields.fold`); one that ends in `-*` stands for all names that begin so. Each table of
requests says who sets such fields where they are honest, because that is who is impersonated when a client sends them.
What only carries a trace of a request from service to service (`traceparent`, `x-b3-*`) impersonates nobody.
"""

from collections.abc import Callable, Iterable
from typing import Final

from aupgate.fields import fold, matcher
from aupgate.values import value

FORWARDING: Final = (
    # Reverse proxies: where a request came from, and by which scheme, host and port.
    "forwarded", "forwarded-for", "forwarded-for-ip", "forwarded-host", "forwarded-proto", "forwarded-port",
    "forwarded-server", "x-forwarded", "x-forwarded-*", "x-forward-for", "x-forward-proto", "x-forward-host",
    "z-forwarded-for", "x-original-forwarded-*", "x-original-host", "x-original-port", "x-original-proto",
    "x-original-scheme", "x-original-ip", "x-original-client-ip", "x-original-remote-addr", "x-real-ip", "x-real-port",
    "x-real-host", "real-ip", "x-client-ip", "x-clientip", "x-client-addr", "x-client-address", "x-client-host",
    "x-client-port", "x-client-scheme", "client-ip", "proxy-client-ip", "proxy-host", "x-proxy-client-ip",
    "x-proxy-ip", "x-proxyuser-ip", "x-remote-ip", "x-remote-addr", "x-remote-host", "x-remote-port", "remote-addr",
    "remote-ip", "remote-host", "x-originating-ip", "x-origin-ip", "x-source-ip", "x-src-ip", "x-user-ip",
    "x-cluster-client-ip", "x-cluster-ip", "x-trusted-ip", "x-custom-ip-authorization", "x-host", "x-server-name",
    "x-server-port", "x-backend-host", "x-scheme", "x-url-scheme", "x-proto", "x-https", "front-end-https",
    "wl-proxy-*", "x-weblogic-*", "x-envoy-*", "x-arr-*", "disguised-host", "was-default-hostname",
    "x-appservice-proto", "surrogate-capability",
    # A Java server's plug-in: address, host, scheme and ports of the client, after a `$` that is no letter.
    "wsra", "wsrh", "wsis", "wssc", "wspr", "wssn", "wssp",
    # Content delivery networks and clouds: the client's address, place and connection.
    "true-client-ip", "x-true-client-ip", "cf-connecting-*", "cf-pseudo-ipv4", "cf-visitor", "cf-worker",
    "cf-ipcountry", "cf-ipcity", "cf-ipcontinent", "cf-iplatitude", "cf-iplongitude", "cf-region", "cf-region-code",
    "cf-metro-code", "cf-postal-code", "cf-timezone", "cf-bot-*", "cf-verified-bot", "cf-threat-score", "cf-ja3-*",
    "cf-ja4", "fastly-client-*", "fastly-orig-*", "fastly-ssl", "fastly-ff", "fastly-temp-xff", "cloudfront-viewer-*",
    "cloudfront-forwarded-proto", "cloudfront-is-*", "x-azure-clientip", "x-azure-socketip", "x-fd-healthprobe",
    "x-appengine-*", "x-amzn-tls-*", "x-vercel-forwarded-*", "x-vercel-ip-*", "x-vercel-proxied-for",
    "x-vercel-internal-*", "x-vercel-ja4-digest", "x-nf-client-*", "x-nf-geo", "fly-client-ip", "fly-forwarded-*",
    "do-connecting-ip", "incap-client-ip", "x-incap-client-ip", "x-sucuri-*", "x-akamai-*", "akamai-client-ip",
    "akamai-bot", "akamai-reputation", "akamai-user-risk", "ali-cdn-real-ip", "cdn-src-ip", "cdn-real-ip",
    "cdn-client-ip", "eo-connecting-*", "eo-client-*", "cdn-requestcountrycode", "cdn-requeststatecode", "x-geoip-*",
    "geoip-*",
)  # fmt: skip

OVERRIDE: Final = (
    # Frameworks that let a field replace the URL or the method that every gateway judged.
    "x-original-url", "x-original-uri", "x-original-path", "x-original-method", "x-rewrite-url", "x-rewrite-uri",
    "x-rewrite-path", "x-override-url", "x-request-uri", "x-replaced-path", "x-waws-unencoded-url", "x-proxy-url",
    "x-host-override", "x-method-override", "x-http-method-override", "x-http-method", "x-http-verb-override",
    "x-http-path-override", "x-http-host-override", "x-http-destinationurl", "http-method-override", "method-override",
    "http-url", "request-uri", "base-url",
    # What the router of a framework says to itself of the page, the redirect or the response that it chose.
    "x-middleware-subrequest", "x-middleware-subrequest-id", "x-middleware-rewrite", "x-middleware-redirect",
    "x-middleware-next", "x-middleware-skip", "x-middleware-set-cookie", "x-middleware-override-headers",
    "x-middleware-request-*", "x-invoke-*", "x-matched-path", "x-now-route-matches", "x-prerender-revalidate",
    "x-react-router-spa-mode", "x-react-router-prerender-data", "x-php-ob-level",
    # CGI and WSGI servers that take them for their own variables, and so cut the path at another place.
    "script-name", "path-info", "x-script-name",
    # Servers that let a field say which file to send.
    "x-sendfile-type", "x-accel-mapping", "x-accel-redirect",
    # CGI makes `HTTP_PROXY` of it, which HTTP clients in the application obey (CVE-2016-5385).
    "proxy",
)  # fmt: skip

IDENTITY: Final = (
    # Authenticating proxies: who the user is.
    "remote-user", "remote-user-*", "remote-name", "remote-email", "remote-group", "remote-groups", "x-remote-*",
    "x-proxy-user", "x-proxy-remote-user", "x-auth-request-*", "x-auth-username", "x-auth-userid", "x-auth-email",
    "x-auth-subject", "x-auth-groups", "x-auth-roles", "x-webauth-*", "x-authenticated-*", "x-authentik-*",
    "x-authelia-*", "x-pomerium-*", "x-vouch-*", "gap-auth", "x-goog-authenticated-*", "x-goog-iap-*",
    "x-ms-client-principal", "x-ms-client-principal-*", "x-ms-token-*", "x-amzn-oidc-*", "cf-access-authenticated-*",
    "tailscale-user-*", "tailscale-app-*", "oidc-*", "shib-*", "x-shib-*", "ajp-*", "eppn", "eptid", "persistent-id",
    "targeted-id", "mellon-*", "cas-user", "sm-user", "sm-userdn", "sm-universalid", "sm-authtype",
    "sm-serversessionid", "sm-serversessionspec", "iv-user", "iv-user-l", "iv-groups", "iv-creds",
    "iv-remote-address", "oam-*", "wsru", "wsat", "auth-user", "logon-user", "x-logon-user", "x-iisnode-*",
    "x-token-subject", "x-token-user-*", "x-jwt-assertion", "x-jwt-claims", "x-jwt-claim-*", "x-consumer-*",
    "x-credential-identifier", "x-anonymous-consumer", "x-userinfo", "x-endpoint-api-userinfo", "x-apigateway-*",
    "x-amzn-request-context", "x-amzn-lambda-context",
    # TLS terminators: which certificate the client proved (RFC 9440 and its forerunners).
    "client-cert", "client-cert-*", "x-client-cert", "x-client-cert-*", "x-clientcert", "x-clientcert-*",
    "x-client-certificate", "x-client-dn", "x-client-verify", "x-client-s-dn", "x-client-i-dn", "x-client-subject-dn",
    "x-client-issuer-dn", "x-client-serial", "ssl-client-*", "ssl-cert", "ssl-cert-*", "x-ssl", "x-ssl-*",
    "x-tls-client-*", "tls-client-*", "x-mtls-*", "x-amzn-mtls-*", "cf-client-cert-*", "cf-cert-*", "x-cert-*",
    "wscc", "wscs",
)  # fmt: skip

INTERNAL: Final = (
    # Debuggers and profilers, which answer with the inside of an application or slow it down.
    "x-debug", "x-debug-*", "x-enable-debug", "x-xdebug-*", "xdebug-*", "x-profiler", "x-profiler-*",
    "x-enable-profiler", "x-blackfire-*", "x-tideways-*", "x-clockwork-*", "x-firephp-version", "x-firelogger",
    "x-firelogger-*", "x-chromelogger-*", "x-webgrind-*", "x-symfony-profiler", "x-werkzeug-*", "x-django-debug-*",
    "x-rack-mini-profiler",
    # What a service says to its neighbours behind the gateway.
    "x-internal", "x-is-internal", "x-internal-request", "x-internal-call", "x-internal-user", "x-internal-user-id",
)  # fmt: skip

ALIAS: Final = (
    "host", "content-length", "content-type", "content-encoding", "content-disposition", "transfer-encoding", "te",
    "trailer", "connection", "upgrade", "expect", "authorization", "proxy-authorization", "cookie", "origin", "referer",
    "user-agent", "range", "via", "date",
)  # fmt: skip
"""What every gateway judges by, when spelled in another way (`Content_Type`).

CGI and its kin take that for the same field, so that the application may read another one than was judged.
"""

OWN: Final = ("x-request-id", "aupgate-*", "x-aupgate-*")
"""What the gateway sets itself; a client that sends one means no harm."""

BANNERS: Final = (
    # Servers and frameworks with their versions: the list of weaknesses to try.
    "server", "x-server", "powered-by", "x-powered-by", "x-powered-by-*", "x-powered-cms", "x-cf-powered-by",
    "x-turbo-charged-by", "x-aspnet-version", "x-aspnetmvc-version", "x-php-version", "x-generator", "x-drupal-cache",
    "x-drupal-dynamic-cache", "x-mod-pagespeed", "x-page-speed", "x-owa-version", "x-application-context",
    "microsoftsharepointteamservices", "x-redmine-version",
    # Machines and times behind the gateway.
    "x-backend", "x-backend-server", "x-backend-host", "x-upstream", "x-upstream-addr", "x-feserver", "x-beserver",
    "x-calculatedbetarget", "x-calculatedfetarget", "x-diaginfo", "x-runtime", "x-rack-cache",
    "x-kong-upstream-latency", "x-kong-proxy-latency",
    # Debuggers: source files, log lines, and where to read more.
    "x-debug", "x-debug-*", "x-profiler", "x-profiler-*", "x-sourcefiles", "x-php-originating-script",
    "x-clockwork-*", "x-blackfire-*", "x-chromelogger-*", "x-chromephp-data", "x-wf-*", "phpdebugbar", "phpdebugbar-*",
    "x-firelogger-*",
)  # fmt: skip
"""Fields of responses that name the software, its machines or its insides, and that no browser acts upon."""


@value
class Fate:
    """What happens to a field that is not simply left: from whom it is kept, and which rule notes it."""

    rule: str = ""
    noted_from_proxies: bool = True
    kept_from_proxies: bool = False


_OWN: Final = Fate(noted_from_proxies=False)
_FORWARDING: Final = Fate("headers.spoofed", noted_from_proxies=False)
_OVERRIDE: Final = Fate("headers.override")
_IDENTITY: Final = Fate("headers.spoofed")
_INTERNAL: Final = Fate("headers.internal")
_ALIAS: Final = Fate("headers.alias")
_KEPT: Final = Fate("headers.spoofed", kept_from_proxies=True)


def imitates(names: Iterable[str]) -> Callable[[bytes], bool]:
    """Return what tells whether a folded name is taken for one of `names`: also as CGI's variables begin, `HTTP_`."""
    matches = matcher(names)
    return lambda folded: matches(folded) or matches(folded.removeprefix(b"http-"))


def classifier(strip: Iterable[str], keep: Iterable[str]) -> Callable[[bytes], Fate | None]:
    """Return the function that says what happens to a field of a given name; None where it is simply left.

    `strip` are further names whose fields nobody may set, `keep` those to leave.
    """
    kept, aliases = matcher(keep), matcher(ALIAS)
    groups = [
        (imitates(names), fate)
        for names, fate in (
            (strip, _IDENTITY),
            (OWN, _OWN),
            (FORWARDING, _FORWARDING),
            (IDENTITY, _IDENTITY),
            (OVERRIDE, _OVERRIDE),
            (INTERNAL, _INTERNAL),
        )
    ]

    def classify(name: bytes) -> Fate | None:
        folded = fold(name)
        fate = next((fate for matches, fate in groups if matches(folded)), None)
        if fate is None and aliases(folded) and folded != name.lower():
            fate = _ALIAS
        if fate is None or not kept(folded):
            return fate
        return _KEPT if fate in {_FORWARDING, _IDENTITY} else None

    return classify
