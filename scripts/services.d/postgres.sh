# shellcheck shell=bash disable=SC2154 # name, root, home and port are set by scripts/services
# PostgreSQL: the major version that OUTBOX_TEST_POSTGRES_VERSION names, else the newest installed; a data directory per major version.

service_variable() { echo OUTBOX_TEST_POSTGRES_URL; }
service_packages() { echo postgresql; }
service_user() { echo postgres; } # the server refuses to run as root

# postgres_client prints where psql and pg_isready are, which work with every version of the server.
postgres_client() {
	local bin
	bin=$(find /usr/lib/postgresql -mindepth 2 -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -n 1)
	if [[ -z $bin ]]; then bin=$(pg_config --bindir 2>/dev/null); fi
	[[ -x $bin/initdb && -x $bin/postgres ]] && echo "$bin"
}

postgres_bin() {
	if [[ -n ${OUTBOX_TEST_POSTGRES_VERSION:-} ]]; then
		"$root/scripts/postgres-server" "$OUTBOX_TEST_POSTGRES_VERSION" --offline
	else
		postgres_client
	fi
}

service_installed() {
	[[ -n $(postgres_client) ]] || return 1
	[[ -z ${OUTBOX_TEST_POSTGRES_VERSION:-} ]] || "$root/scripts/postgres-server" "$OUTBOX_TEST_POSTGRES_VERSION" >/dev/null
}

postgres_data() {
	local version
	version=$("$(postgres_bin)/postgres" --version)
	version=${version#*) }
	echo "$home/data-${version%%[!0-9]*}"
}

# The server's own pid file is the truth: a server that outlived our notes is found again.
service_pid() {
	local file data='data-*'
	if [[ -n ${OUTBOX_TEST_POSTGRES_VERSION:-} ]]; then data=data-$OUTBOX_TEST_POSTGRES_VERSION; fi
	# shellcheck disable=SC2086 # a pattern
	for file in "$home"/$data/postmaster.pid; do
		[[ -f $file ]] || continue
		pid=$(head -n 1 "$file" 2>/dev/null) || continue
		if ours "$pid"; then
			sed -n 4p "$file" >"$state/$name.port"
			port=$(remembered_port)
			echo "$pid"
			return
		fi
	done
	return 1
}

service_url() { echo "postgres://postgres@127.0.0.1:$port/outbox?sslmode=disable"; }

service_start() {
	local bin data stale
	bin=$(postgres_bin)
	data=$(postgres_data)
	if [[ ! -d $data ]]; then
		# Made under another name first, so that an interrupted run leaves no half directory behind.
		as_user rm -rf "$data.new"
		as_user "$bin/initdb" -D "$data.new" -U postgres -A trust -E UTF8 --no-locale || return 1
		as_user mv "$data.new" "$data"
	fi
	# The number in a pid file left by a crash may belong to a stranger by now, and the server would refuse to start.
	stale=$(head -n 1 "$data/postmaster.pid" 2>/dev/null || true)
	if [[ -n $stale ]] && ! ours "$stale"; then as_user rm -f "$data/postmaster.pid"; fi

	# max_prepared_transactions: tests leave transactions prepared. fsync stays on: speed without durability misleads.
	as_user "$bin/pg_ctl" -D "$data" -l "$home/log" -W -o "-p $port \
		-c listen_addresses=127.0.0.1 -c unix_socket_directories='' \
		-c max_connections=300 -c max_prepared_transactions=20 -c fsync=on" start
}

service_ready() { as_user "$(postgres_client)/pg_isready" -q -h 127.0.0.1 -p "$port"; }

service_prepare() {
	local psql
	psql=(as_user "$(postgres_client)/psql" -X -q -A -t -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$port" -U postgres -d postgres)
	if [[ -z $("${psql[@]}" -c "SELECT 1 FROM pg_database WHERE datname = 'outbox'") ]]; then
		"${psql[@]}" -c 'CREATE DATABASE outbox'
	fi
}

# SIGINT is PostgreSQL's fast shutdown: it does not wait for clients.
service_stop() { kill -INT "$1"; }
