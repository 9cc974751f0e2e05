"""`cli_project` with a command that is warm: run in a fork of a process that has imported it all.

Arguments, environment, standard streams, signals and exit code are those of a process of its own;
what is saved is Python's start and the imports, which are most of what a short command costs. What
is started and not waited for, and what runs on a terminal, is the installed command all the same.
"""

from __future__ import annotations

from pathlib import Path

import cli_project
import pytest
from cli_project import Project, Result, environment_with

from forked_tunectl import forked_tunectl


class WarmProject(Project):
    """A project folder in which commands cost no imports."""

    def tunectl(
        self, *arguments: str | Path, cwd: Path | None = None, **environment: str
    ) -> Result:
        """Run a command to its end, without a terminal."""
        ended = forked_tunectl()(
            cwd or self.path,
            *map(str, arguments),
            environment=environment_with(environment),
        )
        return Result(ended.code, ended.out, ended.err)


def small_project(path: Path, **files: str) -> WarmProject:
    """Return `cli_project.small_project`, warm."""
    return WarmProject(cli_project.small_project(path, **files).path)


def mixed_project(tmp_path_factory: pytest.TempPathFactory) -> WarmProject:
    """Return `cli_project.mixed_project`, warm; it may only be read."""
    return WarmProject(cli_project.mixed_project(tmp_path_factory).path)


def copy_of(project: Project, path: Path) -> WarmProject:
    """Return a copy of a project, which may be changed, warm."""
    return WarmProject(cli_project.copy_of(project, path).path)
