"""Where the jobs of a project run, as the person who starts them chose it last: place.json of the project.

Every field carries its help, unit and range, as a run's settings do. Starts nothing.
"""

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from engine.contract.json_kinds import shown
from engine.contract.settings import ConfigError, build, check, leaves, setting
from engine.contract.work_dir import write_atomic

PLACE_NAME = "place.json"
HERE, SLURM = "here", "slurm"
_WORD = re.compile(r"[A-Za-z0-9\[(][A-Za-z0-9_.,:=+&|*()\[\]-]{0,127}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a job runs, and what is asked of Slurm for it. Values out of range are refused with ConfigError."""

    where: str = setting(HERE, "here: on this machine, one job a device at a time. slurm: in the queue of the cluster "
                               "that this machine submits to.", choices=(HERE, SLURM))
    partition: str | None = setting(None, "Partition of the cluster. None: its default.")
    account: str | None = setting(None, "Account that the time is charged to. None: your default.")
    constraint: str | None = setting(None, "Features that a node must have, as Slurm's --constraint takes them.",
                                     advanced=True)
    nodes: int = setting(1, "Nodes that train one run, or make features, together. Runs of a study take one each, "
                             "as do methods that no two processes can share.",
                         unit="nodes", low=1, high=1024)
    gpus: int = setting(0, "GPUs of each node; a run takes one process for each.", unit="a node", low=0, high=64)
    cpus: int = setting(4, "Processor cores for each process.", unit="cores", low=1, high=1024)
    memory: int | None = setting(None, "Main memory of each node. None: the partition's default.", unit="GB", low=1,
                                 high=65_536)
    minutes: int = setting(240, "Time limit. A run that reaches it goes on from a checkpoint, once the queue lets it; "
                                "a run of a study must end within it.", unit="minutes", low=5, high=100_000)
    runs_at_once: int = setting(4, "Runs of a study that train at the same time.", unit="runs", low=1, high=1000)

    def __post_init__(self) -> None:
        for name, value, spec, kind in leaves(self):
            check(name, value, spec, kind)
            if isinstance(value, str) and not _WORD.fullmatch(value):
                raise ConfigError(f"{name} must be one word of letters, digits and .,:=+-_&|*()[]; got {value!r}")

    @classmethod
    def of_dict(cls, values: object) -> "Place":
        """Raises ConfigError for anything but settings in range."""
        place: Place = build(cls, values, "")
        return place


def place_of(project: Path) -> Place:
    """The place that was chosen for a project last; this machine before any choice. Raises ConfigError where place.json
    is damaged."""
    return read_place(Path(project) / PLACE_NAME, Place())


def read_place(path: Path, default: Place | None = None) -> Place:
    """The place that a file has; `default` where there is no file. Raises ConfigError."""
    try:
        return Place.of_dict(json.loads(path.read_text()))
    except FileNotFoundError as error:
        if default is not None:
            return default
        raise ConfigError(f"a place must be a file such as a project's {PLACE_NAME}; {path} is none") from error
    except (ValueError, RecursionError, OSError) as error:
        raise ConfigError(f"{path} must hold where jobs run; {shown(str(error))}; mend or delete it") from error


def choose_place(project: Path, place: Place) -> None:
    """Have the project's next jobs run there."""
    text = json.dumps(asdict(place), indent=1)
    write_atomic(Path(project) / PLACE_NAME, lambda p: p.write_text(text))
