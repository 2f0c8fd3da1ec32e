package store

import (
	"crypto/md5"
	"encoding/binary"
)

// Slots is the number of hash buckets that ordering keys fall into. It is fixed for good: the slot is stored with the event.
const Slots = 64

// Slot returns the bucket of an ordering key: the first byte of md5(tenant NUL key), modulo [Slots]. PostgreSQL computes the
// same in a generated column; test vectors pin both. On SQLite, which has one writer and no md5, every event is in slot 0.
func Slot(tenantID, key string) int {
	sum := keySum(tenantID, key)
	return int(sum[0]) % Slots
}

// KeyHash returns the number that stands for an ordering key in outbox_deliveries: the first eight bytes of
// md5(tenant NUL key). Two keys with one hash are delivered in one order, which is harmless.
func KeyHash(tenantID, key string) int64 {
	sum := keySum(tenantID, key)
	return int64(binary.BigEndian.Uint64(sum[:8]))
}

func keySum(tenantID, key string) [md5.Size]byte {
	var buf [128]byte
	b := append(buf[:0], tenantID...)
	b = append(b, 0)
	b = append(b, key...)
	return md5.Sum(b)
}
