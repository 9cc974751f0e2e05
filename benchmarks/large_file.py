"""Memory of two workers that train on a data file of 6 GB.

    python benchmarks/large_file.py [--quick] [--gigabytes N]

The file has the shape of the flow rig's recordings, (N, 4, 1400, 2500), and is written into a
temporary folder and removed afterwards. Two workers run a trial each, of one epoch. While they do,
every process of `tune` is looked at many times a second: what it holds for itself alone (anonymous
and shared memory), and all that it has in memory, pages of files included, which the system takes
back when it needs them. What is allowed is the selected, downsampled data and 600 MB. The network
is a narrow one: with signals of this size, a wide one's feature maps would hide what the data take.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from commands import TUNECTL
from projects import new_project
from rows import Row, megabytes, run_alone, seconds

GIGABYTES, QUICK_GIGABYTES = 6.05, 1.2
CHANNELS, PULSES, TIMES = 4, 1400, 2500
KEPT_CHANNELS, FACTOR = 2, 4
FEWEST_SAMPLES = 20  # with fewer, a part of the split would be too small
ALLOWED_MB = 600
POLL_S = 0.02
PARAMS = f"""\
dataset: {{source: npy, x_path: x.npy, t_path: t.npy, downsample_factor: {FACTOR}}}
model: {{hidden: 8, use_residual: false}}
training: {{epochs: 1, batch_size: 2}}
"""
SEARCH = """\
study: {name: large, sampler: {name: RandomSampler}}
params_to_tune: {training.learning_rate: {type: float, low: 1.0e-4, high: 1.0e-2, log: true}}
"""


@dataclass(kw_only=True)
class Peak:
    """The most memory that a process was seen with, in bytes.

    Args:
        private: Of its own.
        resident: All that it has in memory, pages of files included.
    """

    private: int = 0
    resident: int = 0

    def look(self, process: psutil.Process) -> None:
        """Look at the process now."""
        status = Path(f"/proc/{process.pid}/status")
        if status.exists():
            fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
            sizes = {name: int(fields.get(name, "0 kB").split()[0]) * 1024 for name in _FIELDS}
            private = sizes["RssAnon"] + sizes["RssShmem"]
            resident = max(sizes["VmHWM"], sizes["VmRSS"])
        else:
            private = resident = process.memory_info().rss
        self.private = max(self.private, private)
        self.resident = max(self.resident, resident)


_FIELDS = ("RssAnon", "RssShmem", "VmRSS", "VmHWM")


def write_data(folder: Path, n_samples: int) -> int:
    """Write signals and targets; return the bytes of the signals' file.

    The signals are one sample's noise, scaled anew for each, so that nothing is constant and
    nothing takes long to draw.
    """
    source = np.random.default_rng(0)
    noise = source.standard_normal((CHANNELS, PULSES, TIMES), dtype=np.float32)
    targets = source.uniform(0.1, 1.0, (n_samples, 6)).astype(np.float32)
    np.save(folder / "t.npy", targets)
    header = {
        "descr": "<f4",
        "fortran_order": False,
        "shape": (n_samples, CHANNELS, PULSES, TIMES),
    }
    with (folder / "x.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for scale in targets[:, 0]:
            file.write((noise * scale).data)
    return (folder / "x.npy").stat().st_size


def watch(command: list[str], cwd: Path) -> tuple[float, Peak, list[Peak]]:
    """Run a command; return its seconds, its own peak and those of the processes it started."""
    start = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        started = psutil.Popen(command, cwd=cwd, stdout=said, stderr=said)
        own = Peak()
        others: dict[int, Peak] = {}
        while started.poll() is None:
            try:
                own.look(started)
                for child in started.children(recursive=True):
                    others.setdefault(child.pid, Peak()).look(child)
            except (psutil.Error, OSError, ValueError):
                pass  # it has just ended
            time.sleep(POLL_S)
        if started.returncode != 0:
            said.seek(0)
            raise RuntimeError(f"tune failed:\n{said.read().decode()[-2000:]}")
    return time.perf_counter() - start, own, list(others.values())


def measure(*, quick: bool, gigabytes: float | None = None) -> Iterator[Row]:
    """Yield a row for memory of its own, and one for all memory of the largest worker."""
    wanted = gigabytes or (QUICK_GIGABYTES if quick else GIGABYTES)
    n_samples = max(FEWEST_SAMPLES, round(wanted * 1e9 / (CHANNELS * PULSES * TIMES * 4)))
    with tempfile.TemporaryDirectory() as name:
        free = shutil.disk_usage(name).free
        if free < 2.5e9 * wanted:
            yield Row(
                what=f"memory of a worker, {wanted:g} GB of data",
                note=f"not measured: the temporary folder has {free / 1e9:.0f} GB free, and it "
                f"takes {2.5 * wanted:.0f} GB to be safe",
            )
            return
        project = new_project(Path(name) / "project", params=PARAMS, search=SEARCH)
        size = write_data(project, n_samples)
        command = [TUNECTL, "tune", "--n-trials", "2", "--workers", "2"]
        taken_s, own, workers = watch(command, project)
    share = n_samples * KEPT_CHANNELS * PULSES * (TIMES // FACTOR) * 4
    allowed = share / 1e6 + ALLOWED_MB
    largest = {
        "private": max(peak.private for peak in workers),
        "resident": max(peak.resident for peak in workers),
    }
    note = (
        f"{n_samples} samples, downsampled by {FACTOR}: {megabytes(share)} selected; allowed "
        f"{ALLOWED_MB} MB more; `tune` itself {{own}}; {seconds(taken_s)}"
    )
    for which, what in (
        ("private", "of its own"),
        ("resident", "in all, pages of files included"),
    ):
        yield Row(
            what=f"peak memory of a worker {what}: {size / 1e9:.2f} GB of data, 2 workers",
            ours=megabytes(largest[which]),
            theirs=f"{megabytes(size)} (the file)",
            result=largest[which] / 1e6,
            unit="MB",
            at_most=round(allowed),
            note=note.format(own=megabytes(getattr(own, which))),
        )


def main() -> None:
    """Take `--gigabytes` out of the arguments, and run."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--gigabytes", type=float)
    own, sys.argv[1:] = parser.parse_known_args()
    run_alone(lambda *, quick: measure(quick=quick, gigabytes=own.gigabytes))


if __name__ == "__main__":
    main()
