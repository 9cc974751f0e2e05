"""`cli_project` with a command that is warm: run in a fork of a process that has imported it all.

Arguments, working folder, standard streams and exit code are those of a process of its own, as are
the environment's variables that the program itself reads. What is saved is Python's start and the
imports, which are most of what a short command costs; the seed of its hashes and what libraries
keep from their first use are those that all forks share.

The installed command it is all the same where a variable is given that counts when Python starts or
something is imported, for what is started and not waited for, and for what runs on a terminal.
"""

from __future__ import annotations

import re
from pathlib import Path

import cli_project
import pytest
from cli_project import Project, Result, environment_with

from forked_tunectl import forked_tunectl

# Read when Python starts or a library is imported, which in a fork has been.
EARLY = re.compile(
    r"(PYTHON|MPL|LC_|LD_|OMP_|OPENBLAS_|MKL_|TORCH|CUDA_).*|LANG(UAGE)?|TZ|TMPDIR|HOME"
)


class WarmProject(Project):
    """A project folder in which commands cost no imports."""

    def tunectl(
        self, *arguments: str | Path, cwd: Path | None = None, **environment: str
    ) -> Result:
        """Run a command to its end, without a terminal."""
        if any(EARLY.fullmatch(key) for key in environment):
            return super().tunectl(*arguments, cwd=cwd, **environment)
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
