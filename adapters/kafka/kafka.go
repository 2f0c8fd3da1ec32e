// Package kafka publishes to Kafka.
//
//	kafka://broker-1:9092,broker-2:9092?compression=zstd
//	kafka://user:password@broker:9093?tls=true&sasl_mechanism=scram-sha-512
//
// Records have the format of Watermill's own watermill-kafka, whose subscriber reads them. The record's key is the
// metadata outbox_key, so that messages of one ordering key stay in one partition; a message without it has no key and
// goes to any partition. Importing the package registers the scheme kafka. Options of the URL:
//
//   - timeout (9s), how long one message may take, with all retries inside;
//   - client_id (watermill-outbox), version, the protocol's, such as 3.6.0;
//   - compression, one of none (the default), gzip, snappy, lz4, zstd;
//   - max_message_bytes (1048576), not above the broker's message.max.bytes;
//   - tls (false); tls_ca, tls_cert and tls_key, PEM files, which turn it on;
//   - sasl_mechanism, one of plain (the default), scram-sha-256, scram-sha-512, for the user of the URL.
//
// No living broker is needed to open a publisher: it connects at the first message, and again when that failed.
package kafka

import (
	"context"
	"net/url"
	"strings"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/bento-outbox/watermill-outbox/adapters"
)

func init() { adapters.Register("kafka", open) }

func open(_ context.Context, u *url.URL, logger watermill.LoggerAdapter) (message.Publisher, error) {
	options := adapters.NewOptions(u)
	config := Config{Brokers: brokers(u, options), Timeout: options.Duration("timeout", DefaultTimeout)}
	config.Sarama = DefaultSaramaConfig(config.Timeout)
	config.Sarama.ClientID = options.String("client_id", config.Sarama.ClientID)
	config.Sarama.Producer.MaxMessageBytes = options.Int("max_message_bytes", config.Sarama.Producer.MaxMessageBytes)
	if text := options.String("version", ""); text != "" {
		version, err := sarama.ParseKafkaVersion(text)
		if err != nil {
			options.Fail("option version: %w", err)
		} else {
			config.Sarama.Version = version
		}
	}
	codec := options.Choice("compression", "none", "none", "gzip", "snappy", "lz4", "zstd")
	if err := config.Sarama.Producer.Compression.UnmarshalText([]byte(codec)); err != nil {
		options.Fail("option compression: %w", err)
	}
	config.Sarama.Net.TLS.Config = options.TLS()
	config.Sarama.Net.TLS.Enable = options.Bool("tls", config.Sarama.Net.TLS.Config != nil)
	if !config.Sarama.Net.TLS.Enable && config.Sarama.Net.TLS.Config != nil {
		options.Fail("options tls_ca, tls_cert and tls_key: tls is false")
	}
	sasl(u, options, config.Sarama)
	if err := options.Err(); err != nil {
		return nil, err
	}
	return NewPublisher(config, logger)
}

func brokers(u *url.URL, options *adapters.Options) []string {
	if u.Path != "" && u.Path != "/" {
		options.Fail("a path is not used") // not quoted: it may be the end of a password
	}
	if u.Host == "" {
		options.Fail("no broker")
		return nil
	}
	list := strings.Split(u.Host, ",")
	for i, host := range list {
		if port := (&url.URL{Host: host}).Port(); port == "" {
			list[i] = strings.TrimSuffix(host, ":") + ":9092"
		}
	}
	return list
}

func sasl(u *url.URL, options *adapters.Options, config *sarama.Config) {
	mechanism := options.Choice("sasl_mechanism", "plain", "plain", "scram-sha-256", "scram-sha-512")
	if u.User == nil {
		if options.Has("sasl_mechanism") {
			options.Fail("option sasl_mechanism: the URL has no user")
		}
		return
	}
	config.Net.SASL.Enable = true
	config.Net.SASL.User = u.User.Username()
	config.Net.SASL.Password, _ = u.User.Password()
	if config.Net.SASL.User == "" || config.Net.SASL.Password == "" {
		options.Fail("user and password: one without the other")
	}
	switch mechanism {
	case "plain":
		config.Net.SASL.Mechanism = sarama.SASLTypePlaintext
	case "scram-sha-256":
		config.Net.SASL.Mechanism = sarama.SASLTypeSCRAMSHA256
		config.Net.SASL.SCRAMClientGeneratorFunc = scramSHA256
	case "scram-sha-512":
		config.Net.SASL.Mechanism = sarama.SASLTypeSCRAMSHA512
		config.Net.SASL.SCRAMClientGeneratorFunc = scramSHA512
	}
}
