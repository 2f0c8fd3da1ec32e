package http

import (
	"fmt"
	"math"
	"net/http"
	"strings"
	"time"
)

// StatusError is an answer that does not acknowledge a message.
type StatusError struct {
	StatusCode int

	after time.Duration
}

func (e *StatusError) Error() string {
	return strings.TrimRight(fmt.Sprintf("server answered %d %s", e.StatusCode, http.StatusText(e.StatusCode)), " ")
}

// blame says whose fault an answer is. The path names the topic, so what is said of the path is said of the topic.
type blame struct{ permanent, unavailable, topicOnly, suspect bool }

var (
	ofMessage         = blame{permanent: true}
	ofServer          = blame{unavailable: true}
	ofServerOrMessage = blame{unavailable: true, suspect: true}                  // some answer so to one message only
	ofPath            = blame{unavailable: true, topicOnly: true, suspect: true} // the same
	ofNobody          = blame{}
)

var blames = map[int]blame{
	http.StatusUnauthorized:                  ofServer, // the secret in the URL was changed
	http.StatusPaymentRequired:               ofServer,
	http.StatusForbidden:                     ofPath,
	http.StatusNotFound:                      ofPath, // not deployed yet
	http.StatusMethodNotAllowed:              ofPath,
	http.StatusProxyAuthRequired:             ofServer,
	http.StatusRequestTimeout:                ofNobody,
	http.StatusMisdirectedRequest:            ofServer,
	http.StatusTooEarly:                      ofNobody,
	http.StatusTooManyRequests:               ofServer,
	http.StatusInternalServerError:           ofNobody,
	http.StatusBadGateway:                    ofServerOrMessage,
	http.StatusServiceUnavailable:            ofServerOrMessage,
	http.StatusInsufficientStorage:           ofServer,
	http.StatusNetworkAuthenticationRequired: ofServer,
	521:                                      ofServer, 522: ofServer, 523: ofServer, 525: ofServer, 526: ofServer, 530: ofServer, // of Cloudflare: the origin cannot be reached
	529: ofServer, // overloaded
}

func (e *StatusError) blame() blame {
	b, known := blames[e.StatusCode]
	switch {
	case known:
		return b
	case e.StatusCode >= 300 && e.StatusCode < 400:
		return ofPath // a redirect, which is not followed
	case e.StatusCode >= 400 && e.StatusCode < 500:
		return ofMessage
	}
	return ofNobody
}

// Permanent reports whether the message is at fault, so that it would be refused again.
func (e *StatusError) Permanent() bool { return e.blame().permanent }

// Unavailable reports whether the server takes nothing for now.
func (e *StatusError) Unavailable() bool { return e.blame().unavailable }

// TopicOnly reports whether that may be so for the topic only, which is part of the path.
func (e *StatusError) TopicOnly() bool { return e.blame().topicOnly }

// Suspect reports whether the message may be what makes the server unavailable.
func (e *StatusError) Suspect() bool { return e.blame().suspect }

// Timeout reports whether a gateway got no answer.
func (e *StatusError) Timeout() bool {
	return e.StatusCode == http.StatusGatewayTimeout || e.StatusCode == 524 // of Cloudflare
}

// RetryAfter is how long the server asks to wait before the next request, by seconds or by date; 0 when it does not say, and when what it
// says is a time in the past or makes no sense. It may be very long: the forwarder waits for an hour at most, forwarder.MaxRetryAfter.
func (e *StatusError) RetryAfter() time.Duration { return e.after }

func statusError(r *http.Response, now time.Time) error {
	return &StatusError{StatusCode: r.StatusCode, after: retryAfter(r.Header.Get("Retry-After"), now)}
}

func retryAfter(text string, now time.Time) time.Duration {
	text = strings.TrimSpace(text)
	if text != "" && strings.Trim(text, "0123456789") == "" {
		const most = int64(math.MaxInt64 / time.Second)
		seconds := int64(0)
		for _, digit := range text {
			if seconds = 10*seconds + int64(digit-'0'); seconds > most { // before it can overflow
				return math.MaxInt64
			}
		}
		return time.Duration(seconds) * time.Second
	}
	if date, err := http.ParseTime(text); err == nil {
		return max(0, date.Sub(now)) // at most about 290 years
	}
	return 0
}
