#!/usr/bin/env bash
# Installs one server into the folder $TIDEGATE_FOREIGN (target/foreign): install.sh nginx|llama|litellm|aimock
# Does nothing when it is there already. Exit code 2: it cannot be installed here.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
home=${TIDEGATE_FOREIGN:-$here/../../target/foreign}
mkdir -p "$home"
home=$(cd "$home" && pwd)

# A virtual environment of its own for each: their dependencies do not go together.
python_packages() {
    local venv="$home/$1"
    shift
    [ -e "$venv/.installed" ] && return
    python3 -m venv "$venv" && "$venv/bin/pip" install --quiet "$@" || exit 2
    touch "$venv/.installed"
}

case ${1:?which server} in
nginx)
    command -v nginx >/dev/null || { apt-get install -y -qq nginx-light || { apt-get update -qq && apt-get install -y -qq nginx-light; }; } || exit 2
    ;;
llama)
    python_packages llama xllamacpp gguf numpy
    [ -e "$home/tiny.gguf" ] || "$home/llama/bin/python" "$here/tiny_model.py" "$home/tiny.gguf"
    ;;
litellm)
    python_packages litellm 'litellm[proxy]'
    ;;
aimock)
    [ -e "$home/npm/node_modules/@copilotkit/aimock" ] ||
        npm install --silent --no-fund --no-audit --prefix "$home/npm" @copilotkit/aimock || exit 2
    ;;
*)
    echo "unknown server: $1" >&2
    exit 1
    ;;
esac
