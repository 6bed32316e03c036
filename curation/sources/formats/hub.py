"""A data set of the Hugging Face hub by its name, through the library `datasets`, which alone knows what a name stands
for: it downloads and keeps the files in its own cache, where a second import finds them without a network.

Says which Arrow files hold the rows; what they mean is for curation.sources.formats.huggingface. The library is no
requirement of this program and is imported when a name is asked for.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from curation.sources.formats.places import split_of
from curation.sources.formats.shards import Shard
from curation.tables.report import Progress, SourceError

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")

_RUNS_NOTHING = 4
"""The first version of the library that reads data alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Hub:
    """What the library hands over."""

    shards: list[Shard]
    inside: tuple[Path, ...]
    """The library's caches: pictures that are files of their own lie there, and none is read from elsewhere, whatever a
    row says."""


def is_name(root: Path) -> bool:
    """Whether a place that is not there may be the name of a data set: NAME or OWNER/NAME."""
    return _NAME.fullmatch(root.as_posix()) is not None


def from_hub(name: str, progress: Progress, config: str | None, revision: str | None) -> Hub:
    """Ask the library for all splits of a data set. Raises SourceError where the library is not there, or has no such
    data set to give, in one line with what it said."""
    try:
        import datasets
        from huggingface_hub import constants
    except ImportError as error:
        raise SourceError(f"a folder must be there, or the library `datasets` for a name of the hub; neither is for "
                          f"{name!r}; check the path, or run `pip install datasets`") from error
    if int(datasets.__version__.partition(".")[0]) < _RUNS_NOTHING:
        raise SourceError(f"the library `datasets` must be of version {_RUNS_NOTHING} or later, since earlier ones may "
                          f"run a program that a data set brings; got {datasets.__version__}; run `pip install -U "
                          "datasets`")
    progress(0, 1, "asking the hub")
    try:
        found = datasets.load_dataset(name, config, revision=revision, keep_in_memory=False)
    except Exception as error:  # of the library, of the hub's client, of what reads the files
        said = " ".join(f"{type(error).__name__}: {error}".split())[:240]
        raise SourceError(f"a data set must be a folder or a name of the hub; {name!r} is no folder here, and the hub "
                          f"gave nothing ({said}); check the name, or import a folder of its files") from error
    splits = dict(found) if isinstance(found, dict) else {str(found.split or "train"): found}
    shards = [Shard(path=Path(one["filename"]), name=f"{split}/{Path(one['filename']).name}",
                    split=split_of(split) or ("train" if len(splits) == 1 else str(split)))
              for split, rows in splits.items() for one in rows.cache_files]
    if not shards:
        raise SourceError(f"a data set of the hub must come as files; {name!r} came as none; download it and import "
                          "its folder")
    caches = (datasets.config.HF_CACHE_HOME, datasets.config.HF_DATASETS_CACHE, constants.HF_HUB_CACHE)
    return Hub(shards=shards, inside=tuple(Path(one).expanduser().resolve() for one in caches))
