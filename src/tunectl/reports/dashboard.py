"""optuna-dashboard over a project's database: on this machine alone, and for looking only.

What it offers to change (deleting and renaming studies, ending trials) knows nothing of trial
directories, budgets and running workers, so it is refused; the commands of `tunectl` do it safely.
"""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Iterable
from pathlib import Path
from socketserver import TCPServer, ThreadingMixIn
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import optuna
from optuna.storages import RDBStorage

from tunectl.errors import UsageError
from tunectl.reports.dashboard_files import StorageWithFiles, TrialFiles
from tunectl.tracking.loopback import HOST, address_of, exit_code_of, port_error, told_into

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)

NOT_INSTALLED = (
    "dashboard needs optuna-dashboard; install it with: pip install 'tunectl[dashboard]'"
)
REFUSED = "this page only shows; change studies with tunectl"
FOREIGN = "this page is for the machine that it runs on"
_LOOKING = ("GET", "HEAD")
_NAMES = (HOST, "localhost")
_LOOK_S = 0.2


class Dashboard:
    """A web page of a database's studies.

    Args:
        storage: The database.
        study: The study that its address leads to; the others can be reached from there.
        project: Absolute path of the project folder.
        port: Of 127.0.0.1; nobody else can see the page.

    Raises:
        UsageError: optuna-dashboard is not installed, or the port is taken.
    """

    def __init__(self, storage: RDBStorage, study: optuna.Study, project: Path, port: int) -> None:
        application = _application(storage, project)
        try:
            self._server = _Server((HOST, port), _Request)
        except OSError as error:
            raise port_error(port, error) from error
        self._server.set_app(application)
        self.address = f"{address_of(port)}/dashboard/studies/{study._study_id}"

    def serve(self) -> int:
        """Show the page until this process is told to stop.

        Returns:
            The exit code: 0 when the user ended it with Ctrl-C, 143 after SIGTERM.
        """
        told: list[int] = []
        serving = threading.Thread(target=self._server.serve_forever, args=(_LOOK_S,), daemon=True)
        with told_into(told):
            serving.start()
            while not told:
                serving.join(_LOOK_S)
            self._server.shutdown()
        self._server.server_close()
        return exit_code_of(told)


def check_installed() -> None:
    """Make sure that optuna-dashboard is there.

    Raises:
        UsageError: it is not.
    """
    try:
        import optuna_dashboard  # noqa: F401
    except ImportError as error:
        raise UsageError(NOT_INSTALLED) from error


def only_shown(application: WSGIApplication) -> WSGIApplication:
    """Return an application that answers what is asked for looking, from this machine's own pages.

    A page of another site that has a name which leads to this machine is none of them.
    """

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        host = urlsplit(f"//{environ.get('HTTP_HOST', '')}").hostname
        if host not in _NAMES:
            return _refuse(start_response, FOREIGN)
        if environ["REQUEST_METHOD"] not in _LOOKING:
            return _refuse(start_response, REFUSED)
        return application(environ, start_response)

    return answer


def _application(storage: RDBStorage, project: Path) -> WSGIApplication:
    check_installed()
    from optuna_dashboard import wsgi

    files = TrialFiles(storage, project)
    application: WSGIApplication = wsgi(StorageWithFiles(storage, files), artifact_store=files)
    return only_shown(application)


def _refuse(start_response: StartResponse, reason: str) -> Iterable[bytes]:
    start_response("403 Forbidden", [("Content-Type", "application/json")])
    return [json.dumps({"reason": reason}).encode()]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def server_bind(self) -> None:
        # The library's asks the name service for this machine's name, which may take its time.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.server_address[1]
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("%s: %s was broken off", client_address, request, exc_info=True)


class _Request(WSGIRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:
        log.debug(format, *arguments)

    def address_string(self) -> str:
        return str(self.client_address[0])

    def get_stderr(self) -> Any:
        return _Errors()


class _Errors(io.StringIO):
    """What went wrong in a request, for the log; the page says it as well."""

    def write(self, text: str, /) -> int:
        log.debug("%s", text.rstrip())
        return len(text)
