#!/bin/sh
# Installs the Debian packages behind the programs the project is run and tested with, where one is missing.
#
#   scripts/install-debian.sh PROGRAM...      a program's name, or `venv` for Python's own module
#
# As root or through sudo; otherwise it says what to install by hand. Starts no daemon.
set -eu
PYTHON=${PYTHON:-python3}

package_of() {
    case $1 in
        mosquitto | mosquitto_passwd) echo mosquitto ;;
        mosquitto_pub | mosquitto_sub) echo mosquitto-clients ;;
        influxd) echo influxdb ;;
        nginx) echo nginx-light ;;
        openssl) echo openssl ;;
        setpriv) echo util-linux ;;
        systemd-analyze) echo systemd ;;
        venv) echo python3-venv ;;
        *) echo "install-debian.sh: no package is known for $1" >&2; exit 2 ;;
    esac
}

is_there() {
    case $1 in
        venv) "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null ;;
        *) PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin command -v "$1" >/dev/null ;;
    esac
}

packages=
for program in "$@"; do
    package=$(package_of "$program")
    is_there "$program" || packages="$packages $package"
done
[ -n "$packages" ] || exit 0
# shellcheck disable=SC2086 # one line per package
packages=$(printf '%s\n' $packages | sort -u | tr '\n' ' ')

by_hand() {
    echo "Missing: $packages"
    echo "$1 Install by hand, then run make again:"
    echo "    sudo apt-get install --no-install-recommends $packages"
    exit 1
}
command -v apt-get >/dev/null || by_hand "This is not Debian: its packages may have other names here."
if [ "$(id -u)" = 0 ]; then
    as_root=
elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
    as_root=sudo
else
    by_hand "Only root may install packages."
fi

# Debian asks this file whether a newly installed daemon may start; 101 is "no". One that is there already is left alone.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    trap '$as_root rm -f $policy' EXIT
    trap 'exit 130' INT TERM
    printf '#!/bin/sh\nexit 101\n' | $as_root tee $policy >/dev/null
    $as_root chmod 755 $policy
fi

echo "Installing $packages(nothing is started)"
$as_root env DEBIAN_FRONTEND=noninteractive DEBCONF_NOWARNINGS=yes apt-get update -qq
# shellcheck disable=SC2086 # one word per package
$as_root env DEBIAN_FRONTEND=noninteractive DEBCONF_NOWARNINGS=yes apt-get install -y -qq --no-install-recommends $packages >/dev/null
if [ -d /run/systemd/system ]; then
    echo "At the next start of this machine Debian would start what is new among mosquitto, influxdb and nginx."
    echo "To prevent that: sudo systemctl disable mosquitto influxdb nginx"
fi
