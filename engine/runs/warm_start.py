"""A preview of a run: a short training that begins with the classifier of another run's newest checkpoint.

Takes the classifier's weights alone: splitter, reweighter, optimizer and record begin anew, under the preview's own
decisions. config.json says so ("warm_start"), so that nobody takes a preview for a training from the start.
"""

from pathlib import Path

from engine.contract.run_dir import RunDir
from engine.contract.run_document import RunDocument, WarmStart
from engine.contract.settings import ConfigError
from engine.model.networks import Classifier
from engine.training import checkpoint


def source_of(project: Path, name: str) -> WarmStart:
    """What config.json keeps of a warm start from the run `name`. Raises ConfigError unless that run has a
    checkpoint."""
    found = checkpoint.checkpoints(RunDir.of(project, name).checkpoint_dir)
    if not found:
        raise ConfigError(f"a warm start needs a run with a checkpoint; {name!r} has none; choose another run")
    return {"run": name, "checkpoint": found[-1].name}


def warm_start(model: Classifier, project: Path, document: RunDocument) -> str:
    """Give the classifier the weights that config.json names, if it names any; a line for the log, "" for none.

    Raises ConfigError where the checkpoint is gone or of another network.
    """
    if not document.get("warm_start"):
        return ""
    name, file = document["warm_start"]["run"], document["warm_start"]["checkpoint"]
    path = RunDir.of(project, name).checkpoint_dir / Path(file).name
    try:
        state = checkpoint.load(path)
        model.load_state_dict(state["trainer"]["classifier"]["model"])
    except FileNotFoundError as error:
        raise ConfigError(f"a warm start needs the checkpoint that it was started with; {name!r} has trained on and no "
                          f"longer keeps {file}; start the preview again") from error
    except (checkpoint.CheckpointError, KeyError, RuntimeError, TypeError) as error:
        raise ConfigError(f"a warm start needs a checkpoint of the same network and classes; that of {name!r} does not "
                          f"fit: {str(error).splitlines()[0]}; choose another run") from error
    return f"a preview: begins with the classifier of {name}, {file}"
