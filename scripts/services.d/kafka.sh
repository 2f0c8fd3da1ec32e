# shellcheck shell=bash disable=SC2154 # name, root, home and port are set by scripts/services
# Apache Kafka from Maven Central: one node that is broker and controller.

service_variable() { echo OUTBOX_TEST_KAFKA_URL; }
service_optional() { true; } # the tests have an embedded stand-in
service_packages() { :; }    # scripts/kafka-lib knows what it needs
service_installed() { "$root/scripts/kafka-lib" >/dev/null; }

service_url() { echo "kafka://127.0.0.1:$port"; }

service_start() {
	local lib java controller
	lib=$("$root/scripts/kafka-lib" --offline) || return 1
	java=(java -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData -cp "$lib/*")
	controller=$(free_port)
	# Records need not outlive the server.
	rm -rf "$home/data" "$home/pid"
	cat >"$home/server.properties" <<-EOF
		process.roles=broker,controller
		node.id=1
		controller.quorum.voters=1@127.0.0.1:$controller
		listeners=BROKER://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
		listener.security.protocol.map=BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT
		inter.broker.listener.name=BROKER
		controller.listener.names=CONTROLLER
		log.dirs=$home/data
		num.partitions=4
		offsets.topic.num.partitions=4
		offsets.topic.replication.factor=1
		transaction.state.log.num.partitions=4
		transaction.state.log.replication.factor=1
		transaction.state.log.min.isr=1
		group.initial.rebalance.delay.ms=0
	EOF
	"${java[@]}" -Xmx128m -Dorg.slf4j.simpleLogger.defaultLogLevel=warn kafka.tools.StorageTool \
		format -t MkU3OEVBNTcwNTJENDM2Qg -c "$home/server.properties" || return 1
	"${java[@]}" -Xms128m -Xmx512m kafka.Kafka "$home/server.properties" >"$home/log" 2>&1 &
	echo $! >"$home/pid"
}

# The port opens before the broker takes requests.
service_ready() { grep -q 'Kafka Server started' "$home/log" && ! port_is_free "$port"; }
