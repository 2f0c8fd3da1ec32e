#!/usr/bin/env bash
# deploy/deploy.sh checks what is needed, prepares the database and starts the forwarder. --help says how.
set -uo pipefail

usage() {
	cat <<'END'
deploy.sh [--no-ddl FILE] [--no-start]

Checks the environment and the configuration, brings the tables up, checks the indexes and starts the forwarder:
with docker compose, from deploy/compose.yaml; or, where OUTBOX_BIN names a binary, that one, in the foreground.

  --no-ddl FILE  This user may not create tables: write the SQL to FILE instead, and go on if somebody has run it.
  --no-start     End before the forwarder is started.

  OUTBOX_BIN       the binary outbox; without it docker compose is used
  OUTBOX_ENV_FILE  lines NAME=value, which nobody else may read; what is set already wins. With compose deploy/.env.

The exit status is 0 when all is done, 1 when a step failed, and 2 when something is missing or wrong, in which case
nothing was begun.
END
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd) || exit 1
faults=0
script=
start=yes
binary=${OUTBOX_BIN:-}
env_file=${OUTBOX_ENV_FILE:-}

step() { printf '==> %s\n' "$*" >&2; }

fault() {
	printf 'deploy: %s\n' "$*" >&2
	faults=$((faults + 1))
}

compose() { docker compose --env-file "$env_file" -f "$here/compose.yaml" "$@"; }

outbox() {
	if [[ -n $binary ]]; then
		"$binary" "$@"
	else
		compose run --rm --no-deps -T outbox "$@"
	fi
}

# must COMMAND... runs a step and ends with its status when it fails.
must() {
	"$@" || {
		local status=$?
		printf 'deploy: stopped, because this failed with status %d: %s\n' "$status" "$*" >&2
		exit "$status"
	}
}

# read_env exports the lines of the file as they are, without running them. A variable that is set already stays.
read_env() {
	local line name value number=0
	while IFS= read -r line || [[ -n $line ]]; do
		number=$((number + 1))
		[[ $line =~ ^[[:space:]]*(#|$) ]] && continue
		if [[ ! $line =~ ^[A-Za-z_][A-Za-z0-9_]*= ]]; then
			fault "$env_file, line $number: want NAME=value"
			continue
		fi
		name=${line%%=*} value=${line#*=}
		if [[ $value =~ ^\"(.*)\"$ || $value =~ ^\'(.*)\'$ ]]; then value=${BASH_REMATCH[1]}; fi
		[[ -n ${!name+set} ]] || export "$name=$value"
	done <"$env_file"
}

check_env_file() {
	if [[ ! -f $env_file || ! -r $env_file ]]; then
		fault "$env_file: no file that can be read; $here/.env.example shows what goes in"
		return
	fi
	if [[ -n $(find "$env_file" -perm /0077) ]]; then
		fault "$env_file: others may read it: chmod 600 $env_file"
	fi
	read_env
}

check_binary() {
	if ! command -v "$binary" >/dev/null; then
		fault "OUTBOX_BIN: $binary is no program that can be run"
	fi
	if [[ -z ${DATABASE_URL:-} && -z ${BENTO_OUTBOX_CONFIG:-} ]]; then
		fault "DATABASE_URL is not set, nor BENTO_OUTBOX_CONFIG, a file with database_url"
	fi
	local name
	for name in BENTO_OUTBOX_CONFIG BENTO_OUTBOX_ROUTES; do
		if [[ -n ${!name:-} && ! -r ${!name} ]]; then fault "$name: ${!name}: no file that can be read"; fi
	done
}

check_compose() {
	if ! command -v docker >/dev/null; then
		fault "docker is not installed; or set OUTBOX_BIN to a binary"
	elif ! docker compose version >/dev/null 2>&1; then
		fault "docker has no compose plugin; or set OUTBOX_BIN to a binary"
	fi
	local name
	for name in POSTGRES_PASSWORD REDIS_PASSWORD; do
		if [[ ! ${!name:-} =~ ^[A-Za-z0-9_-]{16,}$ ]]; then
			fault "$name: want 16 or more letters, digits, - and _: openssl rand -hex 24"
		fi
	done
	if [[ ! ${OUTBOX_REPLICAS:-1} =~ ^[12]$ ]]; then
		fault "OUTBOX_REPLICAS: want 1 or 2, for compose.yaml has two ports"
	fi
}

while (($#)); do
	case $1 in
	--help | -h)
		usage
		exit 0
		;;
	--no-start) start= ;;
	--no-ddl)
		script=${2:-}
		if [[ -z $script ]]; then fault "--no-ddl: want the name of a file for the SQL"; else shift; fi
		;;
	*) fault "$1: unknown argument; see --help" ;;
	esac
	shift
done

step "checking the environment"
if [[ -z $binary && -z $env_file ]]; then env_file=$here/.env; fi
if [[ -n $env_file ]]; then check_env_file; fi
if [[ -n $binary ]]; then check_binary; else check_compose; fi
if [[ -n $script && ! -w $(dirname "$script") ]]; then fault "--no-ddl: cannot write to $(dirname "$script")"; fi

# The configuration of a binary is checked even then, so that all that is wrong is said at once.
if [[ -n $binary ]] && command -v "$binary" >/dev/null; then
	step "checking the configuration"
	outbox config check >&2 || faults=$((faults + 1))
fi
if ((faults)); then exit 2; fi

if [[ -z $binary ]]; then
	step "building the image"
	must compose build outbox
	step "checking the configuration"
	must outbox config check
	step "starting PostgreSQL and Redis"
	must compose up -d --wait postgres redis
fi

if [[ -n $script ]]; then
	step "writing the SQL of the tables to $script"
	must outbox migrate print >"$script"
else
	step "bringing the tables up"
	must outbox migrate up >&2
fi

step "checking the indexes"
if [[ -n $script ]]; then
	outbox indexes >&2 || {
		printf 'deploy: stopped; have somebody who may create tables run what is said above, or %s, and begin again\n' "$script" >&2
		exit 1
	}
else
	must outbox indexes >&2
fi

if [[ -z $start ]]; then
	step "ready to start"
elif [[ -n $binary ]]; then
	step "starting the forwarder; SIGTERM ends it"
	exec "$binary" run
else
	step "starting the forwarder"
	must compose up -d --wait outbox
	step "started; curl http://127.0.0.1:9090/readyz says whether it forwards"
fi
