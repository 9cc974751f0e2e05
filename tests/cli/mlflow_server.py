"""A real MLflow server on loopback, and what it holds as its REST API tells it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

PATIENCE_S = 120.0
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
Run = dict[str, Any]


class MlflowServer:
    """A server over a SQLite file, which can be killed and started again.

    Args:
        folder: Where its database and its artifacts are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        """Its tracking URI."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"),
                *("--port", str(self.port), "--workers", "1"),
                *("--backend-store-uri", f"sqlite:///{self.folder / 'server.db'}"),
                *("--artifacts-destination", str(self.folder / "artifacts")),
            ],
            cwd=self.folder,
            env={**os.environ, **QUIET},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        raise AssertionError("MLflow's server did not start")

    def kill(self) -> None:
        """Kill it and what it has started, without a warning."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Let it hang: connections are taken, nothing is answered."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self._process.pid, signal.SIGCONT)

    def get(self, endpoint: str, /, **query: str) -> Any:
        """Ask its REST API."""
        return self._answer(f"{self.uri}/api/2.0/mlflow/{endpoint}?{urlencode(query)}", None)

    def post(self, endpoint: str, document: Any) -> Any:
        """Ask its REST API with a document."""
        return self._answer(f"{self.uri}/api/2.0/mlflow/{endpoint}", json.dumps(document).encode())

    def _answer(self, url: str, body: bytes | None) -> Any:
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())

    def runs(self, experiment: str) -> list[Run]:
        """Return all runs of an experiment, each with the history of its metrics and its files."""
        found = self.get("experiments/get-by-name", experiment_name=experiment)["experiment"]
        wanted = {"experiment_ids": [found["experiment_id"]], "max_results": 1000}
        return [self._whole(run) for run in self.post("runs/search", wanted).get("runs", [])]

    def _whole(self, run: Run) -> Run:
        run_id, data = run["info"]["run_id"], run["data"]
        names = sorted({one["key"] for one in data.get("metrics", [])})
        history = {
            name: self.get("metrics/get-history", run_id=run_id, metric_key=name)["metrics"]
            for name in names
        }
        return {
            "info": run["info"],
            "params": {one["key"]: one["value"] for one in data.get("params", [])},
            "tags": {one["key"]: one["value"] for one in data.get("tags", [])},
            "metrics": history,
            "files": sorted(self._files(run_id, "")),
            "datasets": [one["dataset"] for one in run.get("inputs", {}).get("dataset_inputs", [])],
        }

    def _files(self, run_id: str, folder: str) -> Iterator[str]:
        for one in self.get("artifacts/list", run_id=run_id, path=folder).get("files", []):
            if one.get("is_dir"):
                yield from self._files(run_id, one["path"])
            else:
                yield one["path"]
