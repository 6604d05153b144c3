"""nginx, privately: as the upstream, as a proxy without checks, and with ModSecurity and the Core Rule Set."""

import os
import re
from pathlib import Path
from typing import Final

from bench.figures import NotMeasuredError
from bench.provision import find
from bench.workloads import ANSWER

_MAIN: Final = """
{user}
{modules}
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr error;
events {{ worker_connections 512; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_buffer_size 64k;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    default_type application/json;
    {http}
}}
"""

_UPSTREAM: Final = """
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        location / {{ return 200 '{answer}'; }}
    }}
"""

_PROXY: Final = """
    upstream application {{
        server 127.0.0.1:{upstream};
        keepalive 64;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        {checks}
        location / {{
            proxy_pass http://application;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $remote_addr;
        }}
    }}
"""

_MODULE: Final = "/usr/lib/nginx/modules/ngx_http_modsecurity_module.so"
_RULES: Final = "/usr/share/modsecurity-crs/rules"
_RECOMMENDED: Final = (
    "/etc/nginx/modsecurity.conf",
    "/usr/share/nginx/docs/modsecurity/modsecurity.conf",
    "/etc/modsecurity/modsecurity.conf-recommended",
)
_CORE_RULES: Final = f"""
Include /etc/modsecurity/crs/crs-setup.conf
Include /etc/modsecurity/crs/REQUEST-900-EXCLUSION-RULES-BEFORE-CRS.conf
Include {_RULES}/*.conf
Include /etc/modsecurity/crs/RESPONSE-999-EXCLUSION-RULES-AFTER-CRS.conf
"""


def upstream(directory: Path, port: int) -> list[str]:
    """Return the command for an nginx that answers every request itself."""
    return _command(directory, _UPSTREAM.format(port=port, answer=ANSWER.decode()))


def proxy(directory: Path, port: int, upstream_port: int) -> list[str]:
    """Return the command for an nginx that passes every request on."""
    return _command(directory, _PROXY.format(port=port, upstream=upstream_port, checks=""))


def modsecurity(directory: Path, port: int, upstream_port: int) -> list[str]:
    """Return the command for an nginx that checks every request with ModSecurity and the Core Rule Set."""
    directory.mkdir(parents=True, exist_ok=True)
    module, _ = find(_MODULE), find(_RULES)
    rules = directory / "modsecurity.conf"
    rules.write_text(_enforcing(_recommended(), directory) + _CORE_RULES, encoding="utf-8")
    checks = f"modsecurity on; modsecurity_rules_file {rules};"
    http = _PROXY.format(port=port, upstream=upstream_port, checks=checks)
    return _command(directory, http, modules=f"load_module {module};")


def _recommended() -> Path:
    for name in _RECOMMENDED:
        if Path(name).is_file():
            return Path(name)
    raise NotMeasuredError("Debian's recommended configuration of ModSecurity is not where it is expected")


def _enforcing(recommended: Path, directory: Path) -> str:
    """Return Debian's recommended configuration with the engine on and its files in `directory`."""
    text = recommended.read_text(encoding="utf-8")
    text = re.sub(r"(?m)^SecRuleEngine .*", "SecRuleEngine On", text)
    text = re.sub(r"(?m)^SecAuditLog .*", f"SecAuditLog {directory}/audit.log", text)
    text = re.sub(r"(?m)^SecStatusEngine .*", "SecStatusEngine Off", text)  # it would ask a name server at start
    mapping = recommended.parent / "unicode.mapping"
    mapped = f"SecUnicodeMapFile {mapping} 20127" if mapping.is_file() else ""
    return re.sub(r"(?m)^SecUnicodeMapFile .*", mapped, text)


def _command(directory: Path, http: str, modules: str = "") -> list[str]:
    directory.mkdir(parents=True, exist_ok=True)
    user = "user root;" if os.geteuid() == 0 else ""
    configuration = directory / "nginx.conf"
    configuration.write_text(_MAIN.format(user=user, modules=modules, directory=directory, http=http), encoding="utf-8")
    return [str(find("nginx")), "-e", "stderr", "-p", str(directory), "-c", str(configuration)]
