# shellcheck shell=bash disable=SC2154 # name, home and port are set by scripts/services
# Redis, without persistence: what the tests put there need not outlive the server.

service_variable() { echo OUTBOX_TEST_REDIS_URL; }
service_packages() { echo redis-server; }
service_installed() { command -v redis-server >/dev/null && command -v redis-cli >/dev/null; }

service_url() { echo "redis://127.0.0.1:$port/0"; }

# The server replaces its command line by "redis-server 127.0.0.1:PORT".
service_marker() { echo "redis-server 127.0.0.1:$port"; }

service_start() {
	rm -f "$home/pid"
	redis-server --port "$port" --bind 127.0.0.1 --daemonize yes --save '' --appendonly no \
		--dir "$home" --pidfile "$home/pid" --logfile "$home/log"
}

service_ready() { [[ $(redis-cli -h 127.0.0.1 -p "$port" ping 2>/dev/null) == PONG ]]; }
