"""The real broker and the real InfluxDB for tests, each in a folder of its own."""

from __future__ import annotations

import getpass
import json
import subprocess
from base64 import b64encode
from collections.abc import Mapping, Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.certificates import Certificate, Certificates
from tests.daemon import HOST, Daemon, ServerError, executable

CONFIG = Path(__file__).parents[1] / "config"


class Mosquitto(Daemon):
    """A broker with one listener, which keeps what it has stored over ``stop``, ``kill`` and ``restart``.

    Parameters
    ----------
    folder
        Its files.
    certificates
        Speak TLS with a certificate of this authority; plain without.
    server_certificate
        Show this certificate rather than a good one for loopback.
    require_client_certificate
        Admit only clients with a certificate of that authority, and take its common name for the user's.
    users
        User → password; anybody may come in without.
    acl
        The text of an access control file.
    settings
        Further lines for its configuration.
    """

    def __init__(
        self,
        folder: Path,
        *,
        certificates: Certificates | None = None,
        server_certificate: Certificate | None = None,
        require_client_certificate: bool = False,
        users: Mapping[str, str] | None = None,
        acl: str | None = None,
        settings: Sequence[str] = (),
    ) -> None:
        self.host = HOST
        configuration = folder / "mosquitto.conf"
        lines = [
            f"user {getpass.getuser()}",
            "log_dest stderr",
            "persistence true",
            f"persistence_location {folder}",
            "autosave_interval 1",
            "max_queued_messages 0",
            f"allow_anonymous {'false' if users or require_client_certificate else 'true'}",
        ]

        def configure(port: int) -> None:
            configuration.write_text("\n".join([*lines, f"listener {port} {HOST}", *listener, *settings, ""]))

        super().__init__("mosquitto", folder, ["-c", str(configuration)], configure)
        listener: list[str] = []
        if certificates:
            own = server_certificate or certificates.issue("broker")
            listener += [f"cafile {certificates.authority}", f"certfile {own.certificate}", f"keyfile {own.key}"]
        if require_client_certificate:
            listener += ["require_certificate true", "use_identity_as_username true"]
        if users:
            passwords = folder / "passwords"
            passwords.touch(mode=0o600)
            for user, password in users.items():
                command = [executable("mosquitto_passwd"), "-b", str(passwords), user, password]
                subprocess.run(command, check=True, capture_output=True)
            lines.append(f"password_file {passwords}")
        if acl is not None:
            rules = folder / "acl"
            rules.write_text(acl)
            rules.chmod(0o600)
            lines.append(f"acl_file {rules}")


class InfluxDB:
    """InfluxDB 1.6 with the shipped nginx configuration before it, which together answer as 1.8 and 2 do.

    Attributes
    ----------
    engine, proxy
        The two processes: with the engine alone down, clients see 502 and HTML; with both, no connection.
    url, token, database
        What a client needs; the organisation is ignored.
    """

    def __init__(self, folder: Path, database: str = "appliance") -> None:
        self.database = database
        self.token = "appliance:secret-of-the-test"
        self._folder = folder
        settings = ["-config", str(folder / "influxdb.conf")]
        self.engine = Daemon("influxd", folder, settings, self._configure_engine)
        proxy = ["-p", str(folder), "-c", "nginx.conf", "-e", "stderr"]
        self.proxy = Daemon("nginx", folder, proxy, self._configure_proxy)

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"http://{HOST}:{self.proxy.port}"

    def start(self) -> None:
        """Start both processes; the first time, create the database and its user as well."""
        first = not self.engine.port
        self.engine.start()
        if first:
            user, password = self.token.split(":")
            self._ask("CREATE USER admin WITH PASSWORD 'admin' WITH ALL PRIVILEGES", headers={})
            self.query(f"CREATE USER {user} WITH PASSWORD '{password}'")
            self.create_database(self.database)
        self.proxy.start()

    def stop(self) -> None:
        """End both processes with SIGTERM."""
        self.proxy.stop()
        self.engine.stop()

    def kill(self) -> None:
        """End both processes with SIGKILL."""
        self.proxy.kill()
        self.engine.kill()

    def restart(self) -> None:
        """Stop both and start them again on their ports, with what was stored."""
        self.stop()
        self.start()

    def create_database(self, name: str) -> None:
        """Create one more database that the token may write to and read from."""
        self.query(f'CREATE DATABASE "{name}"')
        self.query(f'GRANT ALL ON "{name}" TO {self.token.split(":")[0]}')

    def query(self, influxql: str) -> list[dict[str, object]]:
        """Run InfluxQL as the administrator.

        Returns
        -------
        list of dict
            One per row, the tags it is grouped by among its columns; times in integer ns.
        """
        rows: list[dict[str, object]] = []
        for result in self._ask(influxql, _ADMIN)["results"]:
            if "error" in result:
                raise ServerError(f"{influxql}: {result['error']}")
            for series in result.get("series", ()):
                tags = series.get("tags", {})
                rows += [tags | dict(zip(series["columns"], row, strict=True)) for row in series.get("values", ())]
        return rows

    def _ask(self, influxql: str, headers: Mapping[str, str]) -> Any:
        parameters = urlencode({"q": influxql, "db": self.database, "epoch": "ns"})
        connection = HTTPConnection(HOST, self.engine.port, timeout=30)
        try:
            connection.request("POST", f"/query?{parameters}", headers=headers)
            answer = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        if "error" in answer:
            raise ServerError(f"{influxql}: {answer['error']}")
        return answer

    def _configure_engine(self, port: int) -> None:
        shipped = (CONFIG / "influxdb/influxdb.conf").read_text()
        own = shipped.replace("/var/lib/influxdb", str(self._folder)).replace("127.0.0.1:8088", "127.0.0.1:0")
        (self._folder / "influxdb.conf").write_text(own.replace("127.0.0.1:8086", f"{HOST}:{port}"))

    def _configure_proxy(self, port: int) -> None:
        shipped = (CONFIG / "influxdb/nginx-v2-write.conf").read_text()
        own = shipped.replace("127.0.0.1:8086", f"{HOST}:{self.engine.port}").replace(
            "127.0.0.1:8087", f"{HOST}:{port}"
        )
        (self._folder / "nginx.conf").write_text(_NGINX.format(http=own))


_ADMIN = {"Authorization": "Basic " + b64encode(b"admin:admin").decode()}
# One process: a killed master would leave its workers behind.
_NGINX = """
daemon off;
master_process off;
pid nginx.pid;
events {{ }}
http {{
  client_body_temp_path client; proxy_temp_path proxy;
  fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
{http}
}}
"""
