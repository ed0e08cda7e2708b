package fetch

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"unicode"
)

// Refusal is a file that is not fetched, or that nobody sent.
type Refusal struct {
	// URL is the address at fault, which a redirect may have led to. It is without query, fragment and login, where secrets
	// are; empty where what was given is no URL.
	URL string
	// Text says what is wrong with it and what to do.
	Text string
}

func (e *Refusal) Error() string {
	if e.URL == "" {
		return e.Text
	}
	return e.URL + " " + e.Text
}

func refuse(u *url.URL, format string, args ...any) *Refusal {
	return &Refusal{URL: shown(u), Text: fmt.Sprintf(format, args...)}
}

// shown makes a URL fit for an error. It escapes what is not ASCII.
func shown(u *url.URL) string {
	const most = 200
	s := (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String()
	if len(s) > most {
		s = s[:most] + "…"
	}
	return s
}

// refusal makes one of whatever has gone wrong.
func refusal(timed context.Context, u *url.URL, c Config, err error) error {
	var done *Refusal
	var dns *net.DNSError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &done) && done.URL == "": // of the dialer, which knows a host alone
		return refuse(u, "%s", done.Text)
	case errors.As(err, &done):
		return done
	case timed.Err() != nil:
		return refuse(u, "has not sent the file within %s: try again, or use another address", c.Timeout)
	case errors.As(err, &dns) && dns.IsNotFound:
		return refuse(u, "names a host that does not exist: check the address")
	case errors.As(err, &dns):
		return refuse(u, "names a host that could not be looked up: try again, or use another address")
	case errors.As(err, &certificate):
		return refuse(u, "shows a certificate that this host does not trust (%s): use another address", plain(certificate.Err))
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return refuse(u, "breaks off before the file is whole: try again, or use another address")
	}
	return refuse(u, "cannot be fetched (%s): check the address, and that this host reaches it", plain(err))
}

// plain makes the text of an error fit to be shown. Parts of it may be the server's.
func plain(err error) string {
	const most = 200
	text := strings.ToValidUTF8(err.Error(), "?")
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
