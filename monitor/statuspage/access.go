package statuspage

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// access decides who may act. A request carries either the token, or a session: the token can be guessed, so each address has few tries; a session is
// signed, so it needs no limit, and whoever guesses behind the same proxy does not lock out a tab that has one.
type access struct {
	token   [sha256.Size]byte
	guesses guesses
}

const sessionTime = 12 * time.Hour

// allowed reports whether a request may act, and how long its address has to wait after too many wrong tokens. The time that it takes does not depend
// on what is wrong with a token.
func (a *access) allowed(r *http.Request) (ok bool, wait time.Duration) {
	given, found := bearer(r)
	switch {
	case !found:
		return false, 0 // no guess
	case a.isSession(given):
		return true, 0
	}
	sum := sha256.Sum256([]byte(given))
	right := subtle.ConstantTimeCompare(sum[:], a.token[:]) == 1
	if wait = a.guesses.take(r.RemoteAddr, right); wait > 0 {
		return false, wait
	}
	return right, 0
}

// session exchanges the token of an allowed request for a session, which ends after sessionTime. It returns "" for a request that has one already, so
// that no session lasts forever. Nothing is kept here: a session is the time at which it ends, signed with the token.
func (a *access) session(r *http.Request) string {
	if given, _ := bearer(r); a.isSession(given) {
		return ""
	}
	ends := strconv.FormatInt(time.Now().Add(sessionTime).Unix(), 10)
	return ends + "." + a.sign(ends)
}

// isSession reports whether text is a session that has not ended.
func (a *access) isSession(text string) bool {
	ends, signature, _ := strings.Cut(text, ".")
	if !hmac.Equal([]byte(signature), []byte(a.sign(ends))) {
		return false
	}
	at, err := strconv.ParseInt(ends, 10, 64)
	return err == nil && time.Now().Unix() < at
}

func (a *access) sign(text string) string {
	h := hmac.New(sha256.New, a.token[:])
	h.Write([]byte(text))
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

func bearer(r *http.Request) (given string, found bool) {
	return strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
}
