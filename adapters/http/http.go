// Package http publishes to webhooks: one POST per message.
//
//	https://user:password@example.com/hooks
//
// # Request
//
// The topic, percent-encoded as one path segment, is added to the path of the URL: orders.created is posted to
// /hooks/orders.created. With append_topic=false every message goes to the URL itself. The body is the payload. Headers:
//
//   - Message-Topic, the topic, percent-encoded as in the path;
//   - Message-Uuid, the UUID, percent-encoded in the same way;
//   - Idempotency-Key, metadata outbox_id, or the UUID without one: repeated deliveries have the same;
//   - Outbox-NAME for metadata outbox_NAME, underscores as hyphens: outbox_tenant_id is Outbox-Tenant-Id;
//   - Traceparent, Tracestate and Baggage for the metadata of these names in lower case;
//   - Message-Metadata-KEY for all other metadata whose key has lower-case letters, digits and underscores only:
//     correlation_id is Message-Metadata-Correlation-Id;
//   - Message-Metadata, a JSON object in ASCII, for what is left: keys of other characters, and values that a header
//     may not survive in (empty ones, control characters, characters outside ASCII, white space at the ends);
//   - Content-Type, application/json when the payload is JSON, else application/octet-stream, or the option content_type.
//
// [UnmarshalMessage] makes the message of such a request again. It fits the subscriber of watermill-http.
//
// # Answer
//
// A 2xx acknowledges. What else it may be is a [StatusError], and blames:
//
//   - the server, so that deliveries are held and use no attempts: 401, 402, 407, 421, 429, 502, 503, 507, 511, 521 to 523,
//     525, 526, 529, 530;
//   - the path, which has the topic, in the same way: 403, 404, 405, and 3xx, for redirects are not followed, and a Location
//     may leak what the URL keeps secret;
//   - the message, which is dead at once: other 4xx, such as 400, 410, 413 and 422;
//   - nobody, so that it is tried again by its policy: 408, 425, 500, other 5xx. 504 and 524 are time-outs.
//
// A Retry-After header is kept to, up to an hour.
//
// # Options
//
// Importing the package registers the schemes http and https. Options of the URL:
//
//   - timeout (10s), for one message, from the connection to the end of the answer;
//   - append_topic (true) and content_type, see above;
//   - header.NAME, a header of every request, such as header.Authorization=Bearer%20TOKEN;
//   - query.NAME, a query parameter of every request, because the query of the URL itself holds these options;
//   - tls_ca, tls_cert and tls_key, PEM files; https only.
//
// No living server is needed to open a publisher.
package http

import (
	"context"
	"net/http"
	"net/url"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/bento-outbox/watermill-outbox/adapters"
)

func init() {
	adapters.Register("http", open)
	adapters.Register("https", open)
}

func open(_ context.Context, u *url.URL, logger watermill.LoggerAdapter) (message.Publisher, error) {
	options := adapters.NewOptions(u)
	config := Config{
		Timeout:     options.Duration("timeout", DefaultTimeout),
		FixedURL:    !options.Bool("append_topic", true),
		ContentType: options.String("content_type", ""),
		Header:      make(http.Header),
	}
	for name, value := range options.Prefixed("header.") {
		config.Header.Set(name, value)
	}
	target := *u
	target.Fragment, target.RawFragment = "", ""
	query := make(url.Values)
	for name, value := range options.Prefixed("query.") {
		query.Set(name, value)
	}
	target.RawQuery = query.Encode()
	config.URL = target.String()
	tlsConfig := options.TLS()
	if tlsConfig != nil && u.Scheme != "https" {
		options.Fail("options tls_ca, tls_cert and tls_key: use the scheme https")
	}
	transport := newTransport()
	transport.TLSClientConfig = tlsConfig
	config.Client, config.owned = &http.Client{Transport: transport}, true
	if _, err := config.validate(); err != nil {
		options.Fail("%w", err)
	}
	if err := options.Err(); err != nil {
		return nil, err
	}
	return NewPublisher(config, logger)
}
