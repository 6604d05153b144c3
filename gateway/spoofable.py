"""Request fields that only a trusted proxy, a gateway or the application's own middleware may set.

Names are folded (`aupgate.fields.fold`); one that ends in `-*` stands for all names that begin so. Each table says
who sets such fields where they are honest, because that is who is impersonated when a client sends them.
"""

from typing import Final

FORWARDING: Final = (
    # Reverse proxies: where a request came from, and by which scheme, host and port.
    "forwarded", "forwarded-for", "forwarded-for-ip", "x-forwarded", "x-forwarded-*", "x-forward-for",
    "x-original-forwarded-for", "x-original-forwarded-*", "x-real-ip", "x-real-port", "x-real-host", "x-client-ip",
    "x-clientip", "client-ip", "http-client-ip", "x-remote-ip", "x-remote-addr", "remote-addr", "x-originating-ip",
    "x-cluster-client-ip", "x-proxyuser-ip", "x-host", "x-original-host", "x-original-port", "x-original-proto",
    "x-scheme", "x-original-scheme", "x-url-scheme", "front-end-https", "proxy-client-ip", "wl-proxy-client-ip",
    "wl-proxy-ssl", "x-envoy-*", "x-arr-*",
    # Content delivery networks and clouds: the client's address, place and connection.
    "true-client-ip", "x-true-client-ip", "cf-connecting-*", "cf-pseudo-ipv4", "cf-visitor", "cf-ipcountry",
    "fastly-client-*", "fastly-ssl", "cloudfront-viewer-*", "cloudfront-forwarded-proto", "cloudfront-is-*",
    "x-azure-clientip", "x-azure-socketip", "x-appengine-*", "x-vercel-forwarded-*", "x-vercel-ip-*",
    "x-vercel-proxied-for", "x-nf-client-*", "fly-client-ip", "fly-forwarded-*", "do-connecting-ip",
    "incap-client-ip", "x-sucuri-*", "x-akamai-edgescape", "ali-cdn-real-ip", "cdn-src-ip",
)  # fmt: skip

OVERRIDE: Final = (
    # Frameworks that let a field replace the URL or the method that every gateway judged.
    "x-original-url", "x-original-uri", "x-original-method", "x-rewrite-url", "x-rewrite-uri", "x-override-url",
    "x-request-uri", "x-waws-unencoded-url", "x-http-method-override", "x-http-method", "x-method-override",
    "x-http-path-override", "x-http-host-override", "x-http-destinationurl", "x-middleware-subrequest",
    "x-middleware-subrequest-id",
    # CGI and WSGI servers that take them for their own variables, and so cut the path at another place.
    "script-name", "path-info", "x-script-name",
    # Servers that let a field say which file to send.
    "x-sendfile-type", "x-accel-mapping",
    # CGI makes `HTTP_PROXY` of it, which HTTP clients in the application obey (CVE-2016-5385).
    "proxy",
)  # fmt: skip

IDENTITY: Final = (
    # Authenticating proxies: who the user is.
    "remote-user", "remote-user-*", "remote-name", "remote-email", "remote-group", "remote-groups", "x-remote-*",
    "x-auth-request-*", "x-webauth-*", "x-authenticated-*", "x-authentik-*", "x-authelia-*", "x-pomerium-*",
    "x-vouch-*", "x-goog-authenticated-*", "x-goog-iap-*", "x-ms-client-principal", "x-ms-client-principal-*",
    "x-ms-token-*", "x-amzn-oidc-*", "cf-access-authenticated-*", "tailscale-user-*", "oidc-claim-*",
    "oidc-access-token", "oidc-id-token", "shib-*", "mellon-*", "sm-user", "sm-userdn", "sm-universalid",
    "sm-serversessionid", "iv-user", "iv-groups", "iv-creds", "logon-user", "x-logon-user", "x-iisnode-*",
    "x-token-subject", "x-consumer-*", "x-credential-identifier", "x-anonymous-consumer", "x-userinfo",
    # TLS terminators: which certificate the client proved (RFC 9440 and its forerunners).
    "client-cert", "client-cert-*", "x-client-cert", "x-client-cert-*", "x-client-certificate", "x-client-dn",
    "x-client-verify", "x-client-s-dn", "x-client-subject-dn", "ssl-client-*", "x-ssl", "x-ssl-*", "x-tls-client-*",
    "x-mtls-*", "x-amzn-mtls-*",
)  # fmt: skip

OWN: Final = ("x-request-id", "aupgate-*", "x-aupgate-*")
"""What the gateway sets itself; a client that sends one means no harm."""
