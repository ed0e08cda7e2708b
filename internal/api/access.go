package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/gofiber/fiber/v2"
)

// access knows the credentials by their hashes: hashes of one length compare in constant time, whatever was sent.
type access struct {
	// basic is of "user:password", bearer of the token; nil where there is none.
	basic, bearer *[sha256.Size]byte
	// user and token are who it is that has them.
	user, token *credential
}

// newAccess returns nil where the API is open to all.
func newAccess(c *Config) *access {
	a := &access{}
	if c.User != "" && c.Password != "" {
		sum := sha256.Sum256([]byte(fromLatin1(c.User + ":" + c.Password)))
		a.basic = &sum
		a.user = newCredential("user", c.User, c.Password)
	}
	if c.Token != "" {
		sum := sha256.Sum256([]byte(c.Token))
		a.bearer = &sum
		a.token = newCredential("token", "", c.Token)
	}
	if a.basic == nil && a.bearer == nil {
		return nil
	}
	return a
}

func (a *access) check(c *fiber.Ctx) error {
	if who := a.who(c.Get(fiber.HeaderAuthorization)); who != nil {
		c.Locals(localCredential, who)
		return c.Next()
	}
	challenges := &c.Response().Header
	if a.basic != nil {
		challenges.Add(fiber.HeaderWWWAuthenticate, `Basic realm="netlab-api", charset="UTF-8"`)
	}
	if a.bearer != nil {
		challenges.Add(fiber.HeaderWWWAuthenticate, `Bearer realm="netlab-api"`)
	}
	return failed(http.StatusUnauthorized, "unauthorized")
}

// who has the credentials in the value of an Authorization header; nil: nobody.
func (a *access) who(header string) *credential {
	scheme, credentials, _ := strings.Cut(strings.TrimSpace(header), " ")
	credentials = strings.TrimSpace(credentials)
	switch strings.ToLower(scheme) {
	case "bearer":
		if same(a.bearer, credentials) {
			return a.token
		}
	case "basic":
		text, err := base64.StdEncoding.DecodeString(credentials)
		// Python's requests and old browsers send Latin-1. Some texts are valid in both encodings, and then mean either.
		inUTF8, inLatin1 := same(a.basic, string(text)), same(a.basic, everyByte(text))
		if err == nil && (inUTF8 || inLatin1) {
			return a.user
		}
	}
	return nil
}

func same(want *[sha256.Size]byte, got string) bool {
	if want == nil {
		return false
	}
	sum := sha256.Sum256([]byte(got))
	return subtle.ConstantTimeCompare(want[:], sum[:]) == 1
}

// fromLatin1 is a setting in UTF-8, which it may not be in where a locale is none of UTF-8.
func fromLatin1(text string) string {
	if utf8.ValidString(text) {
		return text
	}
	return everyByte([]byte(text))
}

// everyByte reads a text in Latin-1.
func everyByte(text []byte) string {
	runes := make([]rune, len(text))
	for i, b := range text {
		runes[i] = rune(b)
	}
	return string(runes)
}
