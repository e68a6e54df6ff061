"""What the project ships as: the systemd unit, the container image, the command that guards it, the sample settings."""

from __future__ import annotations

import getpass
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from appliance.bundle.manifest import About
from tests.certificates import Certificates
from tests.conftest import need
from tests.daemon import HOST, Daemon, executable, free_port

ROOT = Path(__file__).parents[1]
UNIT = ROOT / "systemd/appliance.service"
DOCKERFILE = ROOT / "Dockerfile"
MAX_EXPOSURE = 1.5
CONNECT_SECS = "5"


def run(*command: str | Path, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=cwd, env=os.environ | environment, capture_output=True, text=True, check=False, timeout=60
    )


def verify(unit: Path) -> str:
    """Return what systemd complains about; it always checks that the program is there, so give it one that is."""
    unit.write_text(re.sub(r"^ExecStart=\S+", f"ExecStart={sys.executable}", unit.read_text(), flags=re.MULTILINE))
    done = run(executable("systemd-analyze"), "verify", unit)
    return done.stdout + done.stderr


def test_systemd_accepts_the_unit_without_a_word(tmp_path: Path) -> None:
    need("systemd-analyze")
    unit = Path(shutil.copy(UNIT, tmp_path))
    assert verify(unit) == ""
    unit.write_text(UNIT.read_text().replace("WatchdogSec=", "WatchDogSecs="))
    assert "Unknown key 'WatchDogSecs'" in verify(unit)


def test_the_unit_is_exposed_less_than_promised() -> None:
    need("systemd-analyze")
    done = run(
        executable("systemd-analyze"), "security", "--offline=true", f"--threshold={MAX_EXPOSURE * 10:.0f}", UNIT
    )
    assert done.returncode == 0, done.stdout.splitlines()[-1]


def test_the_sandbox_lets_the_libraries_of_the_service_work() -> None:
    """MemoryDenyWriteExecute is the one restriction that numerical libraries have tripped over."""
    needed = (
        "numpy, scipy.stats, scipy.signal, river.drift, apsw, zstandard, orjson, msgspec, influxdb_client, paho.mqtt, "
        "appliance.bundle.signing, safetensors.numpy, onnxruntime"
    )
    script = (
        "import ctypes, mmap\n"
        "if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0): raise SystemExit('old kernel')\n"  # PR_SET_MDWE
        "try: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)\n"
        "except PermissionError: pass\n"
        "else: raise SystemExit('not denied')\n"
        f"import {needed}\n"
        "numpy.linalg.svd(numpy.eye(300))\n"
        "scipy.stats.genpareto.fit(numpy.arange(1.0, 50.0))\n"
        "key = appliance.bundle.signing.SigningKey.create()\n"
        "assert appliance.bundle.signing.is_signed(b'', key.sign(b''), key.public)\n"
        "assert len(safetensors.numpy.load(safetensors.numpy.save({'a': numpy.eye(3)}))) == 1\n"
        "assert list(apsw.Connection(':memory:').execute('select 1')) == [(1,)]\n"
    )
    done = run(sys.executable, "-c", script)
    if "old kernel" in done.stderr:
        pytest.skip("PR_SET_MDWE needs Linux 6.3")
    assert done.returncode == 0, done.stderr


def test_the_dockerfile_has_no_fault_that_hadolint_knows() -> None:
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert hadolint, "hadolint is not installed: run `make setup`"
    done = run(hadolint, DOCKERFILE)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_image_runs_as_nobody_in_particular_and_holds_no_build_tools() -> None:
    final = DOCKERFILE.read_text().split("\nFROM ")[-1]
    user = re.search(r"^USER (\d+):(\d+)$", final, re.MULTILINE)
    assert user
    assert int(user[1]) > 0
    assert f"--uid {user[1]}" in final
    assert not re.search(r"pip|gcc|build-essential|python3-venv|COPY \.", final)


def test_whatever_the_image_is_built_from_is_let_through() -> None:
    allowed = {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] == "!"}
    copied = {
        name
        for names in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE.read_text(), re.MULTILINE)
        for name in names.split()
    }
    assert copied == allowed
    assert [name for name in copied if not (ROOT / name).exists()] == []


def test_what_guards_the_project_is_the_command_everybody_runs() -> None:
    guard = ROOT / ".ci/run"
    assert os.access(guard, os.X_OK)
    steps = [line for line in guard.read_text().splitlines() if line and not line.startswith("#")]
    assert steps == ["set -euo pipefail", 'cd "$(dirname "$0")/.."', "exec make test"]


def test_make_test_runs_every_check() -> None:
    planned = run("make", "--dry-run", "test").stdout
    for command in ("ruff format --check .", "ruff check .", "mypy", "lint-imports", "pytest -n 2 --dist loadfile"):
        assert re.search(rf"^\.venv/bin/{re.escape(command)}$", planned, re.MULTILINE), command


def test_what_make_prior_says_of_the_bundle_can_be_packed() -> None:
    need("make")
    planned = run("make", "--dry-run", "prior", "DATA=recordings", "OUT=out")
    said = re.search(r"echo '(\{.*\})' > out/about.json", planned.stdout)
    assert said is not None
    about = msgspec.convert({"made_at": datetime.now(UTC), **json.loads(said[1])}, About)
    assert about.version >= 1


@pytest.fixture
def bare_path(tmp_path: Path) -> Callable[..., Path]:
    """Make a search path with nothing on it but the programs that are named."""

    def link(*programs: str) -> Path:
        folder = tmp_path / "bin"
        folder.mkdir()
        for program in programs:
            (folder / program).symlink_to(executable(program))
        return folder

    return link


def test_setup_without_rights_says_what_to_install(bare_path: Callable[..., Path]) -> None:
    folder = bare_path("sh", "sort", "tr", "apt-get")
    as_user = folder / "id"
    as_user.write_text("#!/bin/sh\necho 1000\n")
    as_user.chmod(0o755)
    script = ROOT / "scripts/install-debian.sh"
    done = run(script, "venv", "mosquitto_pub", "mosquitto_sub", PATH=str(folder), PYTHON="no-such-python")
    assert done.returncode == 1
    assert "Only root may install packages." in done.stdout
    assert "sudo apt-get install --no-install-recommends mosquitto-clients python3-venv" in done.stdout


def test_setup_installs_nothing_where_nothing_is_missing() -> None:
    done = run(ROOT / "scripts/install-debian.sh", "sh", PATH="/nowhere")
    assert (done.returncode, done.stderr) == (2, "install-debian.sh: no package is known for sh\n")
    need("openssl", "setpriv")
    done = run(ROOT / "scripts/install-debian.sh", "openssl", "setpriv")
    assert (done.returncode, done.stdout) == (0, "")


class SampleBroker(Daemon):
    """A broker with Debian's own settings and the project's sample among them, its plain listener on ``port``."""

    def __init__(self, folder: Path, certificates: Certificates, *, secure: bool) -> None:
        self.secure_port = free_port()
        drop_ins = folder / "conf.d"
        drop_ins.mkdir()
        shutil.copy(ROOT / "config/mosquitto/appliance.acl", folder)
        broker = certificates.issue("broker")
        passwords = folder / "passwords"
        passwords.touch()
        for user in ("appliance", "press-1"):
            run(executable("mosquitto_passwd"), "-b", passwords, user, "secret")
        places = {
            "/etc/mosquitto/certs/authority.pem": certificates.authority,
            "/etc/mosquitto/certs/broker.pem": broker.certificate,
            "/etc/mosquitto/certs/broker.key": broker.key,
            "/etc/mosquitto/passwords": passwords,
            "/etc/mosquitto/appliance.acl": folder / "appliance.acl",
            "listener 8883": f"listener {self.secure_port} {HOST}",
        }

        def configure(port: int) -> None:
            sample = (ROOT / "config/mosquitto/appliance.conf").read_text().replace("1883", str(port))
            for shipped, own in places.items():
                sample = sample.replace(shipped, str(own))
            if secure:
                sample = re.sub(r"^#(?!require_cert|use_identity)(?=\S)", "", sample, flags=re.MULTILINE)
            (drop_ins / "appliance.conf").write_text(sample)

        own = [
            f"user {getpass.getuser()}",
            "persistence true",
            f"persistence_location {folder}/",
            f"include_dir {drop_ins}",
        ]
        (folder / "mosquitto.conf").write_text("\n".join([*own, "log_dest stderr", ""]))
        super().__init__("mosquitto", folder, ["-c", str(folder / "mosquitto.conf")], configure)

    def publish(self, topic: str, user: str, password: str, authority: Path) -> str:
        """Publish once to the secure listener, in MQTT 5 because that tells refusals; return the client's complaint."""
        arguments = ["-V", "5", "-q", "1", "-h", HOST, "-p", str(self.secure_port), "-t", topic, "-m", "1"]
        login = ["-u", user, "-P", password, "--cafile", str(authority)]
        return run("timeout", CONNECT_SECS, executable("mosquitto_pub"), *arguments, *login).stderr


def test_the_sample_broker_starts_beside_debians_settings(tmp_path: Path, certificates: Certificates) -> None:
    need("mosquitto", "mosquitto_passwd", "mosquitto_pub")
    broker = SampleBroker(tmp_path, certificates, secure=False)
    broker.start()
    try:
        done = run("mosquitto_pub", "-h", HOST, "-p", str(broker.port), "-t", "plant/press-1/temperature", "-m", "1")
        assert (done.returncode, done.stderr) == (0, "")
        assert "Error" not in broker.log()
    finally:
        broker.kill()


def test_the_sample_for_the_plants_network_admits_whom_it_should(tmp_path: Path, certificates: Certificates) -> None:
    need("mosquitto", "mosquitto_passwd", "mosquitto_pub")
    broker = SampleBroker(tmp_path, certificates, secure=True)
    broker.start()
    try:
        authority = certificates.authority
        assert broker.publish("plant/press-1/temperature", "press-1", "secret", authority) == ""
        assert broker.publish("appliance/status", "appliance", "secret", authority) == ""
        assert "Not authorized" in broker.publish("plant/press-1/temperature", "press-1", "guess", authority)
        assert "Not authorized" in broker.publish("plant/press-2/temperature", "press-1", "secret", authority)
        stranger = Certificates(tmp_path / "stranger").authority
        assert "TLS error" in broker.publish("appliance/status", "appliance", "secret", stranger)
    finally:
        broker.kill()
