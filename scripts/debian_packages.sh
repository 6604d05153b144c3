#!/bin/sh
# Install the servers that tests start, where this is root on Debian; elsewhere say which are missing and go on, because
# their tests then skip with the reason, or fail with AUPGATE_REQUIRE_SERVICES=1.
set -eu

# Administrators' programs are not on everybody's PATH.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

packages=
for pair in redis-server:redis-server clamd:clamav-daemon nginx:nginx; do
    command -v "${pair%%:*}" >/dev/null || packages="$packages ${pair#*:}"
done
[ -n "$packages" ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "not installed, tests that need them will skip:$packages" >&2
    exit 0
fi

# Debian starts a server when it installs it; invoke-rc.d asks this program first, and 101 means no.
# Where the machine has its own, the administrator has decided.
policy=${AUPGATE_POLICY_RC_D:-/usr/sbin/policy-rc.d}
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 1' HUP INT TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi

echo "installing:$packages"
# shellcheck disable=SC2086 # the names are words
if ! { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $packages; } >/dev/null; then
    echo "apt-get could not install all of:$packages" >&2
fi
