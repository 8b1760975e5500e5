# Runs a PostgreSQL server in a directory of its own until standard input ends, and leaves nothing behind, however its parent
# ended. Prints the directory, which is that of the socket, when connections are taken.
#
# postgres.sh BIN PORT [CERTIFICATE KEY]
set -eu
bin=$1 port=$2
base=${TMPDIR:-/tmp}
# Everything is synced, as in earnest; where that costs nothing.
[ -w /dev/shm ] && base=/dev/shm
dir=$(mktemp -d "$base/wharf-pg.XXXXXX")
trap 'rm -rf "$dir"' EXIT
# Rules of a language, so that a text that is not compared byte by byte is noticed.
"$bin/initdb" --pgdata="$dir/data" --auth=trust --username=wharf --encoding=UTF8 --no-sync \
    --locale-provider=icu --icu-locale=en-US --locale=C.UTF-8 >"$dir/initdb.log" 2>&1 || { cat "$dir/initdb.log" >&2; exit 1; }
cat >>"$dir/data/postgresql.conf" <<CONF
listen_addresses = '127.0.0.1'
port = $port
unix_socket_directories = '$dir'
max_connections = 400
shared_buffers = 64MB
CONF
if [ $# -gt 2 ]; then
    printf '%s' "$3" >"$dir/data/server.crt"
    printf '%s' "$4" >"$dir/data/server.key"
    chmod 600 "$dir/data/server.key"
    echo 'ssl = on' >>"$dir/data/postgresql.conf"
fi
trap '"$bin/pg_ctl" --pgdata="$dir/data" --mode=immediate --silent stop >/dev/null 2>&1 || true; rm -rf "$dir"' EXIT
# The server must not hold the pipe by which this script says that it is ready.
"$bin/pg_ctl" --pgdata="$dir/data" --log="$dir/server.log" --wait --silent start </dev/null >/dev/null 2>&1 || { cat "$dir/server.log" >&2; exit 1; }
echo "$dir"
while read -r order; do
    case $order in
        stop) "$bin/pg_ctl" --pgdata="$dir/data" --mode=immediate --silent stop </dev/null >/dev/null 2>&1; echo stopped ;;
        start) "$bin/pg_ctl" --pgdata="$dir/data" --log="$dir/server.log" --wait --silent start </dev/null >/dev/null 2>&1; echo started ;;
    esac
done
