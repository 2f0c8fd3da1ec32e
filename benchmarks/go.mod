module github.com/bento-outbox/watermill-outbox/benchmarks

go 1.26.0

require github.com/bento-outbox/watermill-outbox v0.0.0

replace github.com/bento-outbox/watermill-outbox => ..

replace github.com/bento-outbox/watermill-outbox/adapters/kafka => ../adapters/kafka
