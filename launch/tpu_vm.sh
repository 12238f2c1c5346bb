#!/usr/bin/env bash
# All workers of a Cloud TPU slice, from the clone on your own machine:
#   export TPU_NAME=my-tpu ZONE=us-west4-a
#   launch/tpu_vm.sh setup                                  # the committed code and its packages
#   launch/tpu_vm.sh train --config=configs/cifar10.py --workdir=/mnt/bucket/cifar10
#   launch/tpu_vm.sh stop                                   # saves; the same train goes on
#
# Training outlives the connection: its output is in ~/imgrec_jax/train.log of each worker. The
# workdir is a folder that all workers see, such as a mounted bucket. Needs gcloud, logged in
# (PROJECT where it has no default), and a slice: gcloud compute tpus tpu-vm create, or
# queued-resources.
set -euo pipefail

main() {
  [[ -n ${TPU_NAME-} && -n ${ZONE-} ]] || usage "expected TPU_NAME and ZONE in the environment"
  case ${1-} in
    setup) setup ;;
    train) shift && train "$@" ;;
    stop) stop ;;
    *) usage "expected setup, train or stop, got '${1-}'" ;;
  esac
}

usage() {
  echo "tpu_vm.sh: $1; try TPU_NAME=my-tpu ZONE=us-west4-a launch/tpu_vm.sh setup" >&2
  exit 2
}

tpu_vm() {
  gcloud compute tpus tpu-vm "$@" --worker=all --zone="$ZONE" ${PROJECT:+--project="$PROJECT"}
}

on_all_workers() {
  tpu_vm ssh "$TPU_NAME" --command="$1"
}

# Brings the commit that is checked out; as a bundle, so that results know which one it is.
setup() {
  local folder
  folder=$(mktemp -d)
  # shellcheck disable=SC2064 # this very folder
  trap "rm -rf '$folder'" EXIT
  git diff --quiet HEAD || echo "tpu_vm.sh: changes that are not committed stay here" >&2
  git bundle create --quiet "$folder/imgrec_jax.bundle" HEAD
  tpu_vm scp "$folder/imgrec_jax.bundle" "$TPU_NAME:"
  # shellcheck disable=SC2016 # the workers expand it
  on_all_workers 'set -e
    git init --quiet imgrec_jax
    cd imgrec_jax
    git fetch --quiet ../imgrec_jax.bundle HEAD
    git checkout --quiet --force --detach FETCH_HEAD
    python3 -m pip install --quiet --user uv  # it brings a newer Python than the image has
    [ -d .venv ] || python3 -m uv venv --quiet --python 3.12 .venv
    python3 -m uv pip install --quiet --python .venv/bin/python \
      --constraint constraints.txt --editable ".[tpu]"'
}

train() {
  local flags=''
  (($# > 0)) && flags=$(printf ' %q' "$@")
  on_all_workers "cd imgrec_jax && : > train.log || exit
    export PYTHONUNBUFFERED=1
    nohup .venv/bin/python -m imgrec_jax.main$flags --config.parallel.multihost=auto \\
      >> train.log 2>&1 < /dev/null &
    echo \$! > train.pid
    tail -n +1 -f --pid=\$! train.log
    wait \$!"
}

stop() {
  # shellcheck disable=SC2016 # the workers expand it
  on_all_workers 'pid=$(cat imgrec_jax/train.pid)
    grep -qs imgrec_jax.main "/proc/$pid/cmdline" && kill "$pid" || echo "nothing runs here"'
}

main "$@"
