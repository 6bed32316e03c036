"""Time of an export with pictures, and what is left where it is killed: again and again, half-way.

    python benchmarks/export_pack.py PROJECT [--num 50000] [--kills 20] [--seed 0]

Works on a temporary project whose pictures are PROJECT's training photos, each a file of its own, over and over up to
--num; all of them are pinned to validation. Exports it as Parquet and as an image folder of hard links, compares each
with its digests, then kills (SIGKILL) the command at a random moment of its writing, half of the kills for each format.
"""

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from curation.exports.digests import num_listed, verify
from curation.project import Project
from engine.contract.manifest import read_manifest, resolve_image
from tests.fakes import make_run, write_manifest

ROOT = Path(__file__).resolve().parent.parent
FORMATS = {"parquet": [], "imagefolder": ["--pictures", "hardlink"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path)
    parser.add_argument("--num", type=int, default=50_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        project = copy_of(Project.open(options.project), Path(folder) / "p", options.num)
        out, seconds, is_sound = Path(folder) / "out", {}, True
        for form in FORMATS:
            began = time.perf_counter()
            subprocess.run(command(project, form, out / form), cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
            seconds[form] = time.perf_counter() - began
            began = time.perf_counter()
            findings = verify(out / form)
            num_bytes = sum(path.stat().st_size for path in (out / form).rglob("*") if path.is_file())
            print(f"{form}: {seconds[form]:.1f} s, {num_listed(out / form):,} files, {num_bytes / 1e6:,.0f} MB; "
                  f"verified in {time.perf_counter() - began:.1f} s, {len(findings)} differences", flush=True)
            shutil.rmtree(out / form)
            is_sound &= findings.empty
        for kill in range(options.kills):
            form = list(FORMATS)[kill % 2]
            words, is_well = killed(project, form, out, rng.uniform(0.3, 0.9) * seconds[form])
            print(f"kill {kill + 1}, {form}: {words}", flush=True)
            is_sound &= is_well
        subprocess.run(command(project, "parquet", out / "parquet"), cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        rest = sorted(path.name for path in out.iterdir())
        print(f"after one more export: {rest}, {len(verify(out / 'parquet'))} differences")
        sys.exit(0 if is_sound and rest == ["parquet"] else 1)


def copy_of(source: Project, folder: Path, num: int) -> Path:
    """A project of `num` training samples, photos of `source` over and over, with a run; all pinned to validation."""
    (folder / "images").mkdir(parents=True)
    rows = read_manifest(source.path, ["path"]).query("split == 'train'").reset_index(drop=True)
    rows = rows.iloc[[i % len(rows) for i in range(num)]].reset_index(drop=True)
    for number, path in enumerate(rows["path"]):
        shutil.copyfile(resolve_image(source.root, path), folder / "images" / f"{number:06}{Path(path).suffix}")
    names = [f"{number:06}{Path(path).suffix}" for number, path in enumerate(rows["path"])]
    write_manifest(folder, rows.assign(path=names, sample_id=names, clean_label=rows["given_label"]), source.classes,
                   "images")
    project = Project.open(folder)
    project.ledger().pin(names, "validation", who="benchmark")
    make_run(project, state="running")  # without a map, which of so many is not made for a fake
    return folder


def command(project: Path, form: str, out: Path) -> list[str]:
    return [sys.executable, "-m", "curation", "export", str(project), "--run", "first", "--format", form, "--out",
            str(out), *FORMATS[form]]


def killed(project: Path, form: str, out: Path, after: float) -> tuple[str, bool]:
    """Start an export and kill it after so many seconds; (what lies in its place then, nothing by halves)."""
    process = subprocess.Popen(command(project, form, out / form), cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        process.wait(timeout=after)
    except subprocess.TimeoutExpired:
        process.kill()
    is_killed = process.wait() != 0
    num = sum(1 for one in out.glob(".*.partial") for path in one.rglob("*") if path.is_file())
    words = f"{'killed' if is_killed else 'ended'} after {after:.1f} s with {num:,} files begun; in its place: "
    if not (out / form).exists():
        return words + "nothing", True
    is_whole = verify(out / form).empty
    shutil.rmtree(out / form)
    return words + ("all of it" if is_whole else "A PART OF IT"), is_whole


if __name__ == "__main__":
    main()
