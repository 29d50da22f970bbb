#!/usr/bin/env bash
# Runs one server in the foreground on 127.0.0.1: serve.sh nginx|llama|litellm|aimock PORT DIR
# DIR gets its log and what it writes. The process that is started here is the one to end.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
home=${TIDEGATE_FOREIGN:-$here/../../target/foreign}
name=${1:?which server} port=${2:?which port} dir=${3:?which folder}
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)

case $name in
nginx)
    # Rates of nginx are set by whoever starts it: the tests know what to expect.
    sed -e "s|@DIR@|$dir|g" -e "s|@PORT@|$port|g" -e "s|@UPSTREAM@|unix:$dir/upstream.sock|g" \
        -e "s|@RATE@|${NGINX_RATE:-20r/s}|g" -e "s|@BURST@|${NGINX_BURST:-9}|g" \
        -e "s|@CONNECTIONS@|${NGINX_CONNECTIONS:-1000}|g" -e "s|@BODY@|${NGINX_BODY:-1m}|g" \
        "$here/nginx.conf" >"$dir/nginx.conf"
    rm -f "$dir/upstream.sock"
    exec "$(command -v nginx || echo /usr/sbin/nginx)" -e "$dir/error.log" -p "$dir" -c "$dir/nginx.conf"
    ;;
llama)
    exec "$home/llama/bin/python" "$here/llama.py" "$home/tiny.gguf" "$port"
    ;;
litellm)
    # Prices are those that came with the package, nothing is fetched or reported.
    export LITELLM_LOCAL_MODEL_COST_MAP=True LITELLM_TELEMETRY=False
    # It does not start without a key; this one opens nothing else.
    export LITELLM_MASTER_KEY=${LITELLM_MASTER_KEY:-sk-foreign-tests-on-loopback-0123456789abcdef}
    exec "$home/litellm/bin/python" "$here/litellm_proxy.py" "$port" "$dir" "${LITELLM_RATE:-20}"
    ;;
aimock)
    # It refuses this share of requests at random; its journal (`GET /__aimock/journal`) has every answer.
    exec node "$home/npm/node_modules/@copilotkit/aimock/dist/cli.js" --port "$port" --fixtures "$here/aimock.json" \
        --latency 5 --chunk-size 5 --journal-max 0 --log-level warn --chaos-ratelimit "${AIMOCK_REFUSED:-0}"
    ;;
*)
    echo "unknown server: $name" >&2
    exit 1
    ;;
esac
