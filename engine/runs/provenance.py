"""config.json: where a run's results come from: config, versions, code revision, data, decisions, machine."""

import os
import platform
import subprocess
import time
from importlib.metadata import version
from pathlib import Path

import psutil
import torch

from engine.contract.config import RunConfig
from engine.contract.disk import layouts
from engine.contract.feature_dir import FeatureDir
from engine.contract.manifest import MANIFEST_NAME, file_digest, read_decisions
from engine.contract.method_config import features_used
from engine.contract.run_dir import RunDir
from engine.contract.run_document import RunDocument, num_used
from engine.data.dataset import Dataset
from engine.runtime import distributed


def describe(config: RunConfig, project: Path, run: RunDir) -> RunDocument:
    """config.json: the config, settled, and all that one needs to know where its results come from."""
    used = features_used(config)
    return {
        "layout": layouts.RUN, "config": config.written(), "name": run.name, "method": config.method,
        "created": time.time(), "project": Path(project).resolve().name,
        "versions": {"python": platform.python_version(),
                     **{p: version(p) for p in ("torch", "torchvision", "numpy", "pandas")}},
        "code_revision": _code_revision(), "manifest_digest": file_digest(Path(project) / MANIFEST_NAME),
        "decisions_digest": file_digest(run.decisions_path), "num_decisions": len(read_decisions(run.decisions_path)),
        "features_digest": file_digest(FeatureDir.of(project, used).samples_path) if used else "",
        "hardware": _hardware(), "num_processes": distributed.size(), "launch": distributed.launch(),
    }


def tell_splits(run: RunDir, data: Dataset) -> None:
    """Keep how much of each split takes part: figures on a part of it look like those on all of it."""
    if distributed.is_rank_zero():
        counts, document = data.split_counts(), run.read_config()
        if document.get("splits") != counts:
            run.write_config({**document, "splits": counts})
        if (features := features_used(RunConfig.of_run(document["config"]))) and \
                (line := FeatureDir.of(run.path.parents[1], features).outdated):
            run.log(line)
        for split, found in counts.items():
            if num_used(found) < found["num_samples"]:
                run.log(f"{split}: {num_used(found):,} of {found['num_samples']:,} samples take part; "
                        f"{found['num_unreadable']:,} missing or unreadable, {found['num_unlabelled']:,} without a "
                        f"label that is a class, {found['num_excluded']:,} excluded")


def _code_revision() -> str:
    """The git commit of this code, "-dirty" if changed since; "unknown" outside a checkout."""
    here = Path(__file__).parent
    try:
        return subprocess.run(["git", "describe", "--always", "--dirty", "--abbrev=12"], cwd=here, capture_output=True,
                              text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def _hardware() -> str:
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{platform.machine()}, {os.cpu_count()} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB, {gpu}"
