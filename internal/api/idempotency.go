package api

import (
	"crypto/pbkdf2"
	"crypto/sha256"
	"sync"

	"github.com/gofiber/fiber/v2"

	"netlab-runner/internal/dispatch"
)

const (
	headerIdempotencyKey = "Idempotency-Key"
	// headerReplayed is "true" in the answer to a request whose job was there already.
	headerReplayed = "Idempotent-Replayed"

	maxIdempotencyKey = 255
)

// credential is who sends a request, in a form of which nobody gets back what the client sends, even where that is short.
type credential struct {
	// stretched is the same on every API with the same settings, and takes a tenth of a second: it waits until it is asked for.
	stretched func() ([]byte, error)
}

// stretchRounds is what is recommended for stored passwords: the ids and fingerprints that are made of a credential can be read
// by whoever reads the bus.
const stretchRounds = 600_000

// newCredential is a client with this secret. kind and name tell it from others with the same secret.
func newCredential(kind, name, secret string) *credential {
	salt := []byte("netlab-api\x00" + kind + "\x00" + name)
	return &credential{stretched: sync.OnceValues(func() ([]byte, error) {
		return pbkdf2.Key(sha256.New, secret, salt, stretchRounds, sha256.Size)
	})}
}

// nobody is who sends a request where the API is open to all.
func nobody() *credential {
	return &credential{stretched: func() ([]byte, error) { return []byte("netlab-api\x00anonymous"), nil }}
}

// localCredential is where the check of access leaves who sends the request.
const localCredential = "credential"

// idempotencyKey is what the client names the request with, nil where it does not.
func (s *Server) idempotencyKey(c *fiber.Ctx) (*dispatch.Key, error) {
	values := c.Request().Header.PeekAll(headerIdempotencyKey)
	switch {
	case len(values) == 0:
		return nil, nil
	case len(values) > 1:
		return nil, invalid(headerIdempotencyKey, "is given %d times: send it once", len(values))
	}
	text := string(values[0])
	if text == "" {
		return nil, nil
	}
	if len(text) > maxIdempotencyKey {
		return nil, invalid(headerIdempotencyKey, "has %d characters: use at most %d", len(text), maxIdempotencyKey)
	}
	for _, b := range []byte(text) {
		if b < ' ' || b > '~' {
			return nil, invalid(headerIdempotencyKey, "holds a character that is not printable ASCII: use letters, digits and signs")
		}
	}
	who, ok := c.Locals(localCredential).(*credential)
	if !ok {
		who = s.anonymous
	}
	key, err := who.stretched()
	if err != nil {
		return nil, err
	}
	return dispatch.NewKey(key, text), nil
}
