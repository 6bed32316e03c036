"""Several processes, one training: torchrun starts them, each takes its part of every batch, all decide alike.

What is large goes through the classifier in parts; what comes out (logits, features, losses of a batch) is put together
again on every rank, so that reweighter, splitter, roles and record see the whole batch, as in one process. Without
torchrun there is one rank, and everything here is the identity. B rows of a batch.
"""

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, NoReturn, TypeVar

import psutil
import torch
import torch.distributed as dist
from torch import Tensor, nn

from engine.contract.errors import UserError

LONGEST_WAIT = timedelta(hours=12)
"""Of the others while the first rank decodes a project's images; torch's own, 30 minutes, ends that."""
LINGER_SECONDS = 20.0
"""How long a process whose group broke stays, where several nodes train. torchrun forgets a node that is lost after
three heartbeats of five seconds; were it to begin anew before, it would wait for that node in vain and give up."""
_is_apart = False
_num_restarts = 0
"""How often torchrun has begun this group anew."""
Value = TypeVar("Value")
Model = TypeVar("Model", bound=nn.Module)


@contextlib.contextmanager
def process_group(device: str) -> Iterator[None]:
    """The process group that torchrun's environment asks for; none without it. device: of the config; with GPUs each
    process of a machine takes its own."""
    if num_processes() < 2:
        yield
        return
    is_cuda = device in ("auto", "cuda") and torch.cuda.is_available()
    if is_cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    rank, num_ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    store: Any = dist.TCPStore(  # type: ignore[attr-defined]
        os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), num_ranks,
        is_master=rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True")
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        # It outlives a restart, and with it the addresses of the processes that are gone.
        store = dist.PrefixStore(f"attempt {_own_restarts()}", store)  # type: ignore[attr-defined]
    dist.init_process_group("cpu:gloo,cuda:nccl" if is_cuda else "gloo", store=store, rank=rank, world_size=num_ranks,
                            timeout=LONGEST_WAIT)
    global _num_restarts
    restarts = torch.tensor(_own_restarts())  # a node that was lost and is back counts from 0 again
    dist.all_reduce(restarts, op=dist.ReduceOp.MAX)
    _num_restarts = int(restarts)
    try:
        yield
    finally:
        dist.destroy_process_group()
        _num_restarts = 0


def as_rank(main: Callable[[], object]) -> NoReturn:
    """Run main and end this process before Python shuts down: on a busy machine torch sometimes aborts a rank then, and
    torchrun would begin a run anew that is done."""
    code = 0
    try:
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    sys.stdout.flush()
    sys.stderr.flush()
    if code and int(os.environ.get("GROUP_WORLD_SIZE", "1")) > 1:
        time.sleep(LINGER_SECONDS)
    os._exit(code)


def num_processes() -> int:
    """How many torchrun started, whether they have a group now or not; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def size() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() and not _is_apart else 1


@contextlib.contextmanager
def apart() -> Iterator[None]:
    """Within it this process trains and predicts by itself, as if it were the only one."""
    global _is_apart
    _is_apart = True
    try:
        yield
    finally:
        _is_apart = False


def rank() -> int:
    """Which of size() processes this one is, from 0."""
    return dist.get_rank() if size() > 1 else 0


def is_rank_zero() -> bool:
    """Whether this process is the one that writes files and talks to people."""
    return int(os.environ.get("RANK", "0")) == 0 or num_processes() < 2


def is_restart() -> bool:
    """Whether torchrun started this process, or another of its group, anew after one of their kind failed."""
    return max(_own_restarts(), _num_restarts) > 0


def _own_restarts() -> int:
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def launch() -> str | None:
    """What tells one call of torchrun, its restarts included, from the next; None without it."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return None
    name, agent = os.environ["TORCHELASTIC_RUN_ID"], psutil.Process(os.getppid())
    return name if name != "none" else f"{agent.pid} since {agent.create_time():.0f}"


def local_slice(num: int) -> slice:
    """This rank's rows of a batch of num: contiguous, of sizes that differ by one at most."""
    return slice(num * rank() // size(), num * (rank() + 1) // size())


def gather_rows(part_rows: Tensor, num: int) -> Tensor:
    """All rows (num, ...) of a batch on every rank, in order, detached; part_rows: those of local_slice(num)."""
    if size() == 1:
        return part_rows.detach()
    rows = part_rows.new_zeros(num, *part_rows.shape[1:])
    rows[local_slice(num)] = part_rows.detach()
    dist.all_reduce(rows)  # every row is one rank's and 0 elsewhere: exact
    return rows


def mean(part_values: Tensor, num: int) -> Tensor:
    """This rank's share of the mean over a batch of num, such that the mean of the ranks' gradients is its gradient."""
    return part_values.mean() if size() == 1 else part_values.sum() * (size() / num)


def broadcast_object(value: Value) -> Value:
    """The first rank's value, on every rank."""
    if size() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0, device=torch.device("cpu"))
    return values[0]


def wait_for_all() -> None:
    """Return once every process has come here."""
    if size() > 1:
        dist.all_reduce(torch.zeros(1))


class RankZeroFailed(RuntimeError):
    """What the others raise where the first rank failed; kind: the name of its exception's class."""

    def __init__(self, kind: str, words: str) -> None:
        super().__init__(f"the first process failed: {words}")
        self.kind = kind


def on_rank_zero(work: Callable[[], Value]) -> Value | None:
    """The work's result on the first rank, None on the others, once it is done. Where the first raised, the others
    raise RankZeroFailed; a UserError they raise in its words: once one process has ended, the launcher ends the others,
    and that may be the first before it has said them."""
    result, failure = None, None
    if is_rank_zero():
        try:
            result = work()
        except BaseException as error:
            failure = error
    kind, words, is_refused = broadcast_object(
        (type(failure).__name__, f"{failure}", isinstance(failure, UserError)) if failure else ("", "", False))
    if failure is not None:
        raise failure
    if kind:
        raise UserError(words) if is_refused else RankZeroFailed(kind, words)
    return result


def rank_zero_first(work: Callable[[], Value]) -> Value:
    """The work's result on every rank: the others begin once the first is done, and find the files it made."""
    result = on_rank_zero(work)
    return work() if result is None else result


def agree_on(tensors: Iterator[Tensor]) -> None:
    """Overwrite tensors with the first rank's: GPUs add up in no fixed order, so copies drift apart by rounding."""
    if size() > 1:
        for tensor in tensors:
            dist.broadcast(tensor.detach(), src=0)


def is_asked(flag: bool) -> bool:
    """The first rank's flag, over the CPU: no GPU waits for it."""
    if size() == 1:
        return flag
    value = torch.tensor(flag)
    dist.broadcast(value, src=0)
    return bool(value)


class _GlobalBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch normalisation by the whole batch over all ranks, where torch's SyncBatchNorm refuses: on CPU."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        within = (0, *range(2, x.ndim))  # all but the channels
        channels = (slice(None), *(None,) * (x.ndim - 2))
        num = _sum(x.new_tensor([float(x.numel() // x.shape[1])]))
        mean = _sum(x.sum(within)) / num
        apart = x - mean[channels]
        variance = _sum(apart.square().sum(within)) / num
        if self.track_running_stats:
            assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
            assert self.num_batches_tracked is not None
            with torch.no_grad():
                self.num_batches_tracked += 1
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(variance * num / (num - 1.0), self.momentum)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return apart * scale[channels] + self.bias[channels]


class GlobalBatchNorm(_GlobalBatchNorm, nn.BatchNorm2d):
    """Of images (B, C, H, W)."""


class GlobalBatchNorm1d(_GlobalBatchNorm, nn.BatchNorm1d):
    """Of features (B, C)."""


class _Sum(torch.autograd.Function):
    """Over ranks. Each rank's result depends on every rank's input alike, so gradients are summed over ranks too."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return _added(values)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return _added(grads[0])


def _added(values: Tensor) -> Tensor:
    total = values.contiguous().clone()
    dist.all_reduce(total)
    return total


def _sum(values: Tensor) -> Tensor:
    total: Tensor = _Sum.apply(values)
    return total


def synchronized(model: Model, device: torch.device) -> Model:
    """The model with batch statistics over all ranks; as it is where there is one."""
    if size() == 1:
        return model
    if device.type == "cuda":
        from timm.layers.norm_act import (
            convert_sync_batchnorm,  # torch's own would drop the activation that timm's norms have
        )

        converted: Model = convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        return converted
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = GlobalBatchNorm
        elif type(module) is nn.BatchNorm1d:
            module.__class__ = GlobalBatchNorm1d
    return model


def wrapped(model: nn.Module, device: torch.device, is_partly_idle: bool = False) -> Any:
    """What a training forward goes through, so that gradients are means over ranks: the model itself where one is.
    is_partly_idle: in some steps a part of it has no gradient."""
    if size() == 1:
        return model
    return nn.parallel.DistributedDataParallel(
        model, device_ids=[torch.cuda.current_device()] if device.type == "cuda" else None,
        find_unused_parameters=is_partly_idle)
