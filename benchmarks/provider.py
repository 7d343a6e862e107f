"""A fast provider: nginx, which answers iDenfy's token call at once and counts the calls."""

import http.client
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from benchmarks.processes import Failed, running, wait_for
from trials.servers import answers, free_port

PATHS = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin")  # not on every PATH
CONFIGURATION = """
daemon off;
pid nginx.pid;
error_log stderr warn;
worker_processes 1;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_timeout 600s;
    keepalive_requests 1000000000;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    default_type application/json;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location = /api/v2/token {{
            return 201 '{{"message":"Token created successfully","authToken":"$request_id","scanRef":"$request_id",\
"expiryTime":604800,"isValid":true}}';
        }}
        location = /status {{ stub_status; }}
        location / {{ return 404 '{{}}'; }}
    }}
}}
"""


class Provider:
    """The provider's address, its name, and the number of answered calls."""

    def __init__(self, port: int, name: str) -> None:
        self.port = port
        self.name = name
        self._connection = http.client.HTTPConnection("127.0.0.1", port)
        self._looks = 0
        self._before = 0
        self._before = self.answered()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answered(self) -> int:
        """The calls since `forget`. Reading the count is not counted."""
        self._connection.request("GET", "/status")
        page = self._connection.getresponse().read().decode()
        self._looks += 1
        found = re.search(r"requests\n \d+ \d+ (\d+)", page)
        if found is None:
            raise Failed("nginx's status page cannot be read")
        return int(found[1]) - self._looks - self._before

    def forget(self) -> None:
        """Start counting at zero."""
        self._before += self.answered()

    def close(self) -> None:
        self._connection.close()


def nginx() -> str | None:
    """The path of nginx; None if it is not installed."""
    return shutil.which("nginx", path=os.pathsep.join([os.environ.get("PATH", ""), *PATHS]))


@contextmanager
def answering(folder: Path, *, program: str | None) -> Iterator[Provider]:
    """Run the provider: `program` (an nginx) with its own configuration in `folder`; None: the stub in Python."""
    port = free_port()
    if program is None:
        command = [sys.executable, "-m", "benchmarks.stub", str(port)]
        name = "a stub in Python for the provider"
    else:
        configuration = folder / "nginx.conf"
        configuration.write_text(CONFIGURATION.format(port=port))
        command = [program, "-p", str(folder), "-c", str(configuration), "-e", "stderr"]
        name = subprocess.run([program, "-v"], capture_output=True, text=True).stderr.strip().rpartition(" ")[2]
    with running(command, folder=folder):
        wait_for(name, lambda: answers(port))
        with closing(Provider(port, name)) as provider:
            yield provider
