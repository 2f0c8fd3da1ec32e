package statuspage

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"strings"
	"time"
)

const (
	sessionHeader = "Outbox-Session"
	sessionTime   = 12 * time.Hour
)

// session returns what a tab that knows the token is known by until sessionTime has passed: the time at which it ends, signed with the token. It allows
// nothing without the token, and nothing is kept of it here.
func (p *page) session(now time.Time) string {
	ends := strconv.FormatInt(now.Add(sessionTime).Unix(), 10)
	return ends + "." + p.sign(ends)
}

// unlocked tells whether text is a session that has not ended.
func (p *page) unlocked(text string, now time.Time) bool {
	ends, signature, _ := strings.Cut(text, ".")
	if !hmac.Equal([]byte(signature), []byte(p.sign(ends))) {
		return false
	}
	at, err := strconv.ParseInt(ends, 10, 64)
	return err == nil && now.Unix() < at
}

func (p *page) sign(text string) string {
	h := hmac.New(sha256.New, p.token[:])
	h.Write([]byte(text))
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}
