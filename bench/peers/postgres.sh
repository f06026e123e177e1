#!/bin/sh
# Starts a throw-away PostgreSQL for `selfchain bench peers`, reachable only through a Unix socket in its own
# folder, and removes it again.
#
#   bench/peers/postgres.sh start [PARENT]   install if missing, start; prints the connection string
#   bench/peers/postgres.sh stop  FOLDER     stop and remove; FOLDER is the host of the connection string
#
# PARENT (default: the temporary folder) must lie on the disk that the node is measured on. As root the server
# runs as user "postgres", because PostgreSQL refuses to run as root.
set -eu

readonly MARK=selfchain-bench-postgres

usage() {
    sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
    exit 2
}

as_server() {
    if [ "$(id -u)" -eq 0 ]; then
        runuser -u postgres -- "$@"
    else
        "$@"
    fi
}

# The newest installed version: distributions keep initdb and pg_ctl out of PATH.
find_programs() {
    for folder in $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -rV) $(pg_config --bindir 2>/dev/null); do
        if [ -x "$folder/initdb" ] && [ -x "$folder/pg_ctl" ]; then
            echo "$folder"
            return
        fi
    done
}

install() {
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        echo "PostgreSQL is not installed; install the package postgresql and try again" >&2
        exit 1
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q
    # The package would start a cluster of its own on the usual port; nobody asked for that one.
    apt-get install -qy --no-install-recommends postgresql-common
    mkdir -p /etc/postgresql-common/createcluster.d
    echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.d/selfchain-bench.conf
    apt-get install -qy --no-install-recommends postgresql
    rm -f /etc/postgresql-common/createcluster.d/selfchain-bench.conf
}

start() {
    parent=${1:-${TMPDIR:-/tmp}}
    programs=$(find_programs)
    if [ -z "$programs" ]; then
        install >&2
        programs=$(find_programs)
    fi
    folder=$(mktemp -d "$parent/$MARK.XXXXXX")
    if [ "$(id -u)" -eq 0 ]; then
        chown postgres "$folder"
    fi
    cd "$folder"
    as_server "$programs/initdb" --pgdata="$folder/data" --username=bench --auth=trust --no-locale --encoding=UTF8 \
        --no-instructions >"$folder/initdb.log" 2>&1 || { cat "$folder/initdb.log" >&2; exit 1; }
    # Durable, as installed; generous with memory, and no checkpoint in the middle of a measurement.
    cat >>"$folder/data/postgresql.conf" <<EOF
listen_addresses = ''
unix_socket_directories = '$folder'
max_connections = 100
fsync = on
synchronous_commit = on
full_page_writes = on
shared_buffers = 1GB
wal_buffers = 64MB
max_wal_size = 16GB
checkpoint_timeout = 1h
EOF
    as_server "$programs/pg_ctl" --pgdata="$folder/data" --log="$folder/server.log" --wait start >&2 ||
        { cat "$folder/server.log" >&2; exit 1; }
    echo "host=$folder user=bench dbname=postgres"
}

stop() {
    folder=${1:-}
    case $folder in
    */"$MARK".??????) ;;
    *) usage ;;
    esac
    if [ -f "$folder/data/postmaster.pid" ]; then
        cd "$folder"
        as_server "$(find_programs)/pg_ctl" --pgdata="$folder/data" --mode=immediate --wait stop >&2
        cd /
    fi
    rm -rf "$folder"
}

case ${1:-} in
start) start "${2:-}" ;;
stop) stop "${2:-}" ;;
*) usage ;;
esac
