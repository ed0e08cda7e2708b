package fetch_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"unicode"
	"unicode/utf8"

	"netlab-runner/internal/fetch"
)

// FuzzResponse has a server say anything.
func FuzzResponse(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na: b",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;x=y\r\na: b\r\n0\r\nX: y\r\n\r\n",
		"HTTP/1.1 302 Found\r\nLocation: //user:pw@host/x?y#z\r\n\r\n",
		"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.0 404 \x1b[2J\r\nContent-Encoding: gzip\r\n\r\n",
		"SSH-2.0-x\r\n",
	} {
		f.Add([]byte(seed))
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = l.Close() })
	var mu sync.Mutex // one at a time: the response is the listener's
	var response []byte
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				_, _ = conn.Write(response)
			}
			_ = conn.Close()
		}
	}()
	f.Fuzz(func(t *testing.T, data []byte) {
		mu.Lock()
		defer mu.Unlock()
		response = bytes.Clone(data)
		c := allowed()
		c.Redirects, c.Limit = -1, 64
		content, err := fetch.Get(t.Context(), "http://"+l.Addr().String()+"/x?token=hunter2", c)
		if err == nil && (!utf8.Valid(content) || bytes.IndexByte(content, 0) >= 0 || len(content) > 64) {
			t.Fatalf("%q", content)
		}
		wantShowable(t, err)
	})
}

// FuzzURL asks for anything, which leads nowhere.
func FuzzURL(f *testing.F) {
	for _, seed := range []string{
		"http://files.example/x?token=hunter2", "https://u:p@h:1/", "http://[::1%25lo]:80/", "file:///x", "http://%e2%80%ae/\u202e", "//x", "http:x", "http://0x7f.1/",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, address string) {
		c := fetch.Config{Timeout: long, Resolve: func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		}}
		if strings.ContainsAny(address, "123456789") {
			// An address of somebody else's, which a test leaves alone.
			address = strings.Map(func(r rune) rune {
				if '1' <= r && r <= '9' {
					return '0'
				}
				return r
			}, address)
		}
		_, err := fetch.Get(t.Context(), address, c)
		if err == nil {
			t.Fatalf("%q was fetched", address)
		}
		wantShowable(t, err)
	})
}

func wantShowable(t *testing.T, err error) {
	t.Helper()
	var r *fetch.Refusal
	if err != nil && !errors.As(err, &r) {
		t.Fatalf("%v is no refusal", err)
	}
	if r != nil && (strings.ContainsFunc(r.Error(), unicode.IsControl) || len(r.Error()) > 700 || strings.Contains(r.Error(), "hunter2")) {
		t.Fatalf("%q", r.Error())
	}
}
