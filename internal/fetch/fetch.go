// Package fetch gets a text file over HTTP from a server that nobody vouches for, named by somebody whom nobody vouches for:
// neither may learn by it what the networks of this host hold, nor keep it waiting, nor fill its memory.
package fetch

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"netlab-runner/internal/jobs"
)

// Config says what may be fetched. The zero one is fine.
type Config struct {
	// Networks may be reached although they are internal ones: loopback, private, link-local and the like, and this host's
	// own addresses. Defaults to none.
	Networks []netip.Prefix
	// Timeout is for all of it: names, redirects, the last byte. Defaults to 30 s.
	Timeout time.Duration
	// Limit is how many bytes a file may have. Defaults to jobs.MaxTopologyBytes.
	Limit int64
	// Redirects is how many are followed. Defaults to 5; below 0: none.
	Redirects int
	// Resolve gives the addresses of a name. Defaults to the system's resolver.
	Resolve func(ctx context.Context, name string) ([]netip.Addr, error)
}

const (
	defaultTimeout   = 30 * time.Second
	defaultRedirects = 5
	// maxHeader bounds the head of a response, in bytes.
	maxHeader = 64 << 10
)

func (c Config) withDefaults() Config {
	if c.Timeout <= 0 {
		c.Timeout = defaultTimeout
	}
	if c.Limit <= 0 {
		c.Limit = jobs.MaxTopologyBytes
	}
	if c.Redirects == 0 {
		c.Redirects = defaultRedirects
	}
	if c.Resolve == nil {
		c.Resolve = resolve
	}
	return c
}

// Get fetches a file by http or https. Each address that its name has, and the name of each redirect, is checked, and it is
// the checked address that is dialled. Nothing is sent along: no proxy is used, no cookie, no credentials. What comes must
// be UTF-8 text, not compressed, with status 200.
//
// A *Refusal says why there is no file, whoever's fault it is; any other error is ctx's.
func Get(ctx context.Context, address string, c Config) ([]byte, error) {
	c = c.withDefaults()
	timed, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	u, err := parse(address)
	if err != nil {
		return nil, err
	}
	transport := newTransport(c)
	defer transport.CloseIdleConnections()
	for redirects := 0; ; redirects++ {
		content, next, err := get(timed, transport, u, c)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil:
			return nil, refusal(timed, u, c, err)
		case next == nil:
			return content, nil
		case redirects >= c.Redirects:
			return nil, refuse(u, "redirects once more after %d redirects: use the address that it leads to", redirects)
		}
		u = next
	}
}

// get makes one request: the file, or where it has moved to.
func get(ctx context.Context, transport *http.Transport, u *url.URL, c Config) (content []byte, next *url.URL, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return nil, nil, err
	}
	req.Header = http.Header{
		"Accept":          {"application/yaml, text/plain, */*;q=0.5"},
		"Accept-Encoding": {"identity"},
		"User-Agent":      {"netlab-worker"},
	}
	// Not by a client, which follows redirects, sends a Referer and keeps cookies.
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	switch resp.StatusCode {
	case http.StatusOK:
		content, err = read(u, resp, c)
		return content, nil, err
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		next, err = redirect(u, resp.Header.Get("Location"))
		return nil, next, err
	}
	return nil, nil, refuse(u, "answers with status %s: check the address, the file must be there without a login", status(resp.StatusCode))
}

// read takes the file out of a response.
func read(u *url.URL, resp *http.Response, c Config) ([]byte, error) {
	for _, encoding := range resp.Header.Values("Content-Encoding") {
		if !strings.EqualFold(encoding, "identity") {
			return nil, refuse(u, "sends the file compressed although it was asked not to: put it where it is sent as it is")
		}
	}
	tooLarge := func() error { return refuse(u, "is larger than %d bytes: use a smaller file", c.Limit) }
	if resp.ContentLength > c.Limit {
		return nil, tooLarge()
	}
	content, err := io.ReadAll(io.LimitReader(resp.Body, c.Limit+1))
	switch {
	case int64(len(content)) > c.Limit:
		return nil, tooLarge()
	case err != nil:
		return nil, err
	case !utf8.Valid(content) || bytes.IndexByte(content, 0) >= 0:
		return nil, refuse(u, "is not UTF-8 text: use the address of the file itself")
	}
	return content, nil
}
