"""A Slurm of one node on this machine, for the tests: without systemd, cgroups and accounting."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ETC = Path("/etc/slurm")
"""Not a folder of our own and SLURM_CONF: Snakemake's job step drops all variables SLURM_*."""

MARK = "# written by frcore's tests\n"
GPUS = ("/dev/null", "/dev/zero")
"""Slurm wants a character device for each GPU, and looks at nothing else."""

CONF = """\
ClusterName=frcore
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmdPort={slurmd_port}
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=cred_expire=30
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
ProctrackType=proctrack/pgid
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
KillWait=2
MinJobAge=3600
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} Gres=gpu:{gpus}
PartitionName=main Nodes={host} Default=YES MaxTime=1-0 DefaultTime=10 PriorityTier=1
PartitionName=urgent Nodes={host} MaxTime=1-0 DefaultTime=10 PriorityTier=2
"""


def missing() -> str:
    """Why there can be no such Slurm here; empty if there can."""
    if os.geteuid() != 0:
        return "a Slurm of its own needs root"
    programs = [name for name in ("slurmctld", "slurmd", "munged") if shutil.which(name) is None]
    if programs:
        return f"{', '.join(programs)} not installed (Debian: slurm-wlm, munge)"
    conf = ETC / "slurm.conf"
    if conf.exists() and not conf.read_text(encoding="utf-8").startswith(MARK):
        return f"{conf} is of another Slurm, which is left alone"
    return ""


def _output(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else ""


def _wait(what: str, condition: Callable[[], object], seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"{what}: not after {seconds:.0f} s"
        time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@dataclass(frozen=True)
class Cluster:
    """The running cluster; the controller can be stopped and started."""

    folder: Path

    def start(self) -> None:
        """Start the controller and wait until it answers."""
        subprocess.run(["slurmctld"], check=True)
        _wait("slurmctld", lambda: "is UP" in _output("scontrol", "ping"))

    def stop(self, name: str = "slurmctld") -> None:
        """End a daemon as its service would, and wait for its end."""
        pid = int((self.folder / f"{name}.pid").read_text())
        os.kill(pid, signal.SIGTERM)
        _wait(f"the end of {name}", lambda: _state_of(pid) in ("", "Z"))

    def jobs(self, state: str = "all") -> dict[str, str]:
        """Comment -> id of the jobs in a state; Snakemake's comment is rule and wildcards."""
        found = _output("squeue", "--noheader", f"--states={state}", "--format=%i|%k")
        return {comment: job for job, _, comment in (o.partition("|") for o in found.splitlines())}

    def states(self) -> dict[str, str]:
        """Job id -> state of all jobs."""
        found = _output("squeue", "--noheader", "--states=all", "--format=%i|%T")
        return dict(line.split("|") for line in found.splitlines())


def _state_of(pid: int) -> str:
    """The letter of a process's state; a zombie, Z, has ended though nobody collects it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


@contextlib.contextmanager
def one_node(folder: Path, cpus: int = 4) -> Iterator[Cluster]:
    """A cluster of this machine, with two GPUs that are none; its files are in `folder`."""
    host = socket.gethostname().partition(".")[0]
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * 3 // 4 // 2**20
    conf = CONF.format(
        host=host, folder=folder, cpus=cpus, memory=memory, gpus=len(GPUS), port=_free_port(),
        slurmd_port=_free_port(),
    )  # fmt: skip
    ETC.mkdir(exist_ok=True)
    (ETC / "slurm.conf").write_text(MARK + conf)
    (ETC / "gres.conf").write_text(f"{MARK}Name=gpu File={','.join(GPUS)}\n")
    cluster = Cluster(folder)
    with contextlib.ExitStack() as ends:
        ends.callback(lambda: [(ETC / one).unlink() for one in ("slurm.conf", "gres.conf")])
        ends.enter_context(_munge())
        cluster.start()
        ends.callback(cluster.stop)
        subprocess.run(["slurmd"], check=True)
        ends.callback(cluster.stop, "slurmd")
        ends.callback(_end_jobs)
        _wait("an idle node", lambda: _output("sinfo", "-h", "-p", "main", "-o", "%T") == "idle\n")
        yield cluster


def _end_jobs() -> None:
    """A daemon that ends before its jobs would leave their processes behind."""
    _output("scancel", "--user=root")
    _wait("the end of all jobs", lambda: not _output("squeue", "--noheader"))


@contextlib.contextmanager
def _munge() -> Iterator[None]:
    """Munge, which may be running already."""
    if _output("sh", "-c", "munge -n | unmunge"):
        yield
        return
    if not Path("/etc/munge/munge.key").exists():
        subprocess.run(["runuser", "-u", "munge", "--", "mungekey"], check=True)
    run = Path("/run/munge")
    run.mkdir(exist_ok=True)
    shutil.chown(run, "munge", "munge")
    subprocess.run(["runuser", "-u", "munge", "--", shutil.which("munged") or ""], check=True)
    _wait("munged", lambda: _output("sh", "-c", "munge -n | unmunge"))
    yield
    os.kill(int((run / "munged.pid").read_text()), signal.SIGTERM)
