#!/usr/bin/env bash
# N processes of one run on this machine, connected over loopback:
#   launch/local.sh 2 --restarts=3 -- python -m imgrec_jax.main --config=configs/digits.py
#
# Process 0 writes to the terminal as if it were alone; each line of another one is led by its
# number, [1]. GPUs are dealt out evenly. Where one process fails the rest is ended, and its exit
# status is passed on; --restarts=K starts all of them again up to K times, unless the command is
# wrong (2) or was asked to stop (75). Ctrl-C and SIGTERM reach every process: they save, and this
# waits for them.

GRACE_SECONDS=${GRACE_SECONDS:-10} # between asking processes to end and ending them

main() {
  exec 3>&2 # for say, wherever it is called
  read_arguments "$@"
  count_gpus
  trap 'forward INT' INT
  trap 'forward TERM' TERM HUP
  trap end_all EXIT
  local run
  for ((run = 0; ; run++)); do
    start_all
    wait_for_all
    case $status in 0 | 2 | 75) break ;; esac
    if ((stopping || run == restarts)); then break; fi
    say "starting again, $((run + 1)) of $restarts"
  done
  exit "$status"
}

say() { echo "local.sh: $*" >&3; }

usage() {
  say "$1; try launch/local.sh N [--restarts=K] -- COMMAND..."
  exit 2
}

read_arguments() {
  restarts=0 stopping=0 pids=()
  count=${1-}
  [[ $count =~ ^[1-9][0-9]{0,2}$ ]] || usage "expected a number of processes, got '$count'"
  shift
  case ${1-} in
    --restarts=*) restarts=${1#*=} && shift ;;
    --restarts) restarts=${2-} && shift $(($# > 1 ? 2 : 1)) ;;
  esac
  [[ $restarts =~ ^[0-9]{1,4}$ ]] || usage "expected a number of restarts, got '$restarts'"
  [[ ${1-} == -- ]] || usage "expected -- before the command, got '${1-}'"
  shift
  (($# > 0)) || usage "expected a command after --, got none"
  command=("$@")
}

# Sets the number of GPUs that each process gets: 0 where there are none to deal out.
count_gpus() {
  share=0
  [[ ${JAX_PLATFORMS-} == cpu || -n ${JAX_LOCAL_DEVICE_IDS-} ]] && return
  local gpus
  gpus=$(nvidia-smi -L 2>/dev/null | grep -c '^GPU')
  if [[ -n ${CUDA_VISIBLE_DEVICES-} ]]; then gpus=$(tr , '\n' <<<"$CUDA_VISIBLE_DEVICES" | wc -l); fi
  ((gpus == 0 || gpus >= count)) || usage "expected $gpus processes at most, one for each GPU, \
got $count (on the CPU: JAX_PLATFORMS=cpu)"
  share=$((gpus / count))
}

start_all() {
  local i port
  pids=()
  port=$(free_port)
  set -m # each process leads a group of its own: Ctrl-C comes to this script alone
  for ((i = 0; i < count; i++)); do
    if ((stopping)); then break; fi
    start "$i" "$port" </dev/null &
    pids[i]=$!
  done
  set +m
}

# Below the ports that systems hand out by themselves (32768 and up), where nobody answers.
free_port() {
  local port
  while port=$((20000 + RANDOM % 12768)); do
    (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
  done
  echo "$port"
}

# Becomes process i of the run.
start() {
  local i=$1 port=$2
  export PYTHONUNBUFFERED=1
  if [[ -n ${http_proxy-}${https_proxy-} ]]; then export no_grpc_proxy=127.0.0.1; fi
  if ((share > 0)); then
    JAX_LOCAL_DEVICE_IDS=$(seq -s, $((i * share)) $((i * share + share - 1)))
    export JAX_LOCAL_DEVICE_IDS
  fi
  # What writes the number ignores signals: it ends with the last line.
  if ((i > 0)); then exec > >(trap '' INT TERM HUP; exec sed -u "s/^/[$i] /" >&2) 2>&1; fi
  exec "${command[@]}" "--config.parallel.multihost=127.0.0.1:$port,$i/$count"
}

# Waits until no process is left. Sets status to that of the process that failed first (of several
# at once to the highest: 137 of one that was killed, not the 1 of one that lost it), else to 75
# where one stopped, else to 0.
wait_for_all() {
  status=0
  local i code failed failure
  while ((${#pids[@]} > 0)); do
    sleep 0.2
    failure=0
    for i in "${!pids[@]}"; do
      kill -0 "${pids[i]}" && continue
      wait "${pids[i]}"
      code=$?
      kill -TERM -- "-${pids[i]}" # what it has left behind
      unset "pids[i]"
      if ((code == 75)); then
        ((status == 0)) && status=75
      elif ((code > failure)); then
        failure=$code failed=$i
      fi
    done
    if ((failure > 0 && (status == 0 || status == 75))); then
      say "process $failed ended with status $failure"
      status=$failure
      end_all
    fi
  done
} 2>/dev/null # bash has a line of its own for each process that is killed

# shellcheck disable=SC2329 # the traps call it
forward() {
  stopping=1
  local pid
  for pid in "${pids[@]}"; do kill -s "$1" "$pid" 2>/dev/null; done
}

# Asks the processes that are left to end, and then ends them with all that they started.
end_all() {
  local pid tenth
  for pid in "${pids[@]}"; do kill -TERM "$pid" 2>/dev/null; done
  for ((tenth = 0; tenth < 10 * GRACE_SECONDS; tenth++)); do
    for pid in "${pids[@]}"; do kill -0 "$pid" 2>/dev/null && sleep 0.1 && continue 2; done
    break
  done
  for pid in "${pids[@]}"; do kill -KILL -- "-$pid" 2>/dev/null; done
}

main "$@"
