// Package adapters opens a publisher by URL.
//
// The scheme of the URL names the broker. An adapter package registers its scheme when it is imported, as drivers of
// database/sql do:
//
//	import _ "github.com/bento-outbox/watermill-outbox/adapters/redis"
package adapters
