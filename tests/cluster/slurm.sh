#!/usr/bin/env bash
# A real SLURM on this machine, of one node on loopback, and two runs through launch/slurm.sbatch:
#   tests/cluster/slurm.sh FOLDER
#
# Run 1: two tasks find each other and finish. Run 2: stopped by a signal, it saves, is put back
# into the queue and goes on; taken back by scancel, it stays away. Everything is written below FOLDER, which is to be empty. Exit status:
# 0 passed, 1 failed, 77 skipped. Installs Debian's slurm-wlm and munge where they are missing.
set -euo pipefail

main() {
  root=$(cd "$(dirname "$0")/../.." && pwd)
  mkdir -p "$1"
  folder=$(cd "$1" && pwd)
  export SLURM_CONF=$folder/slurm.conf PATH=$PATH:/usr/sbin:/sbin
  install
  trap stop_daemons EXIT
  start_daemons
  two_tasks_finish
  a_stopped_run_goes_on
  echo "slurm.sh: passed"
}

say() { echo "slurm.sh: $*" >&2; }

fail() {
  say "FAILED: $*"
  tail -n 30 "$folder"/*.out "$folder"/*.log >&2 || true
  exit 1
}

skip() {
  say "skipped: $*"
  exit 77
}

# Runs a command until it succeeds, for a minute at most.
await() {
  local end=$((SECONDS + 60))
  until "$@" >"$folder/await.txt" 2>&1; do
    ((SECONDS < end)) || fail "waited in vain for: $*"
    sleep 0.25
  done
}

install() {
  local program missing=''
  for program in munged slurmctld slurmd sbatch srun; do
    command -v "$program" >/dev/null || missing+=" $program"
  done
  [[ -n $missing ]] || return 0
  command -v apt-get >/dev/null || skip "no$missing here, and no apt-get to install them with"
  [[ $(id -u) == 0 ]] || skip "no$missing here, and only root may install them"
  say "installing slurm-wlm and munge"
  { apt-get update && DEBIAN_FRONTEND=noninteractive \
    apt-get install --yes --no-install-recommends slurm-wlm munge; } >"$folder/apt.log" 2>&1 ||
    skip "apt-get could not install slurm-wlm and munge: $(tail -n 1 "$folder/apt.log")"
}

# Keys, sockets, logs and state of their own, and ports on 127.0.0.1 alone, so that a SLURM that
# this machine may belong to is not touched.
start_daemons() {
  local host
  host=$(hostname -s)
  mkdir -p "$folder/state" "$folder/spool"
  chmod 700 "$folder"
  (umask 077 && head -c 128 /dev/urandom >"$folder/munge.key")
  munged --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" \
    --log-file="$folder/munged.log" --pid-file="$folder/munged.pid" --seed-file="$folder/munge.seed"
  cat >"$SLURM_CONF" <<CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$((20000 + RANDOM % 6000))
SlurmdPort=$((26000 + RANDOM % 6000))
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
NodeName=localhost NodeHostname=$host NodeAddr=127.0.0.1 CPUs=2 RealMemory=2000
PartitionName=all Nodes=localhost Default=YES MaxTime=INFINITE
CONF
  slurmctld
  slurmd -N localhost
  await scontrol ping
  await node_is idle
}

node_is() { [[ $(sinfo --noheader --format=%T) == "$1" ]]; }

stop_daemons() {
  local name pid end=$((SECONDS + 60))
  if [[ -f $folder/slurmctld.pid ]] && scancel --user="$(id -un)"; then
    while ((SECONDS < end)) && [[ -n $(squeue --noheader) ]]; do sleep 0.25; done
  fi
  for name in slurmd slurmctld munged; do
    [[ -f $folder/$name.pid ]] || continue
    pid=$(<"$folder/$name.pid")
    kill "$pid" || continue
    tail --pid="$pid" -f /dev/null
  done
}

# submit NAME [flags of the run]: prints the number of the job.
submit() {
  local name=$1
  shift
  (cd "$root" && JAX_PLATFORMS=cpu sbatch --parsable --ntasks=2 --ntasks-per-node=2 \
    --output="$folder/$name.out" launch/slurm.sbatch --config=digits --workdir="$folder/$name" \
    --config.model.convnet.width=8 --config.model.convnet.hidden=8 "$@")
}

two_tasks_finish() {
  local job
  job=$(submit finished --config.epochs=1)
  await job_has "$job" 'JobState=(COMPLETED|FAILED)'
  job_has "$job" JobState=COMPLETED || fail "the job of two tasks"
  "${PYTHON:-$root/.venv/bin/python}" - "$folder/finished/result.json" <<'CHECK' || fail "result.json"
import json, sys
result = json.load(open(sys.argv[1], encoding="utf-8"))
assert result["processes"] == 2, result
assert result["status"] == "finished", result
CHECK
}

a_stopped_run_goes_on() {
  local job
  job=$(submit stopped --config.epochs=100000 --config.checkpoint.every_steps=5)
  await test -d "$folder/stopped/checkpoints/5"
  scancel --signal=TERM "$job"
  await job_has "$job" Restarts=1
  grep -q "Stopped at step" "$folder/stopped.out" || fail "the run did not say that it stopped"
  # Else SLURM waits for two minutes; not at once, for it refuses what it has just ended.
  scontrol update "job=$job" StartTime=now+5
  await grep -q "resumed" "$folder/stopped.out"
  scancel "$job"
  await job_has "$job" 'JobState=(CANCELLED|PENDING)'
  await no_job_runs
  job_has "$job" JobState=CANCELLED || fail "scancel put the job back into the queue"
}

no_job_runs() { [[ -z $(squeue --noheader --states=RUNNING,COMPLETING) ]]; }

job_has() { scontrol show job "$1" | grep -Eq "$2"; }

main "${1:?expected an empty folder to work in}"
