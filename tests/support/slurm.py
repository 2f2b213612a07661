"""A real Slurm on loopback: munged, slurmctld and slurmd of Debian, with all files in one directory."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.conftest import free_port
from tests.support.hosts import wait_until

_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scancel", "sinfo")


def no_slurm() -> str | None:
    """Return why Slurm cannot be started, or None."""
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"no {', '.join(missing)} here (Debian: slurmctld, slurmd, slurm-client, munge)"
    return None if os.geteuid() == 0 else "Slurm's daemons need root"


@contextmanager
def slurm(folder: Path, *, cpus: int = 4, memory_mb: int = 8_000) -> Iterator[dict[str, str]]:
    """Yield the environment variables that ``sbatch`` and the other commands need."""
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    (folder / "state").mkdir()
    (folder / "spool").mkdir()
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    host = socket.gethostname().split(".")[0]
    conf = folder / "slurm.conf"
    conf.write_text(
        f"""
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={free_port()}
SlurmdPort={free_port()}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
MpiDefault=none
ReturnToService=2
JobAcctGatherType=jobacct_gather/none
KillWait=5
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory_mb} State=UNKNOWN
PartitionName=test Nodes={host} Default=YES MaxTime=INFINITE State=UP
""",
        "utf-8",
    )
    environment = {"SLURM_CONF": str(conf)}
    with ExitStack() as stack:

        def start(name: str, *arguments: str) -> subprocess.Popen[bytes]:
            log = stack.enter_context((folder / f"{name}.out").open("wb"))
            process = subprocess.Popen(
                [name, *arguments], env={**os.environ, **environment}, stdout=log, stderr=subprocess.STDOUT, cwd=folder
            )
            stack.callback(process.wait, 60)
            stack.callback(process.terminate)
            return process

        start(
            "munged", "--foreground", "--force", f"--key-file={key}", f"--socket={folder}/munge.socket",
            f"--pid-file={folder}/munged.pid", f"--log-file={folder}/munged.log", f"--seed-file={folder}/munged.seed",
        )  # fmt: skip
        wait_until((folder / "munge.socket").exists, "munged")
        start("slurmctld", "-D", "-i")
        start("slurmd", "-D", "-N", host)
        wait_until(lambda: _node_is_idle(environment), f"the node; see {folder}")
        yield environment


def _node_is_idle(environment: dict[str, str]) -> bool:
    sinfo = subprocess.run(
        ["sinfo", "--noheader", "--format", "%T"], env={**os.environ, **environment}, capture_output=True, text=True,
        check=False, timeout=60,
    )  # fmt: skip
    return sinfo.stdout.strip() == "idle"
