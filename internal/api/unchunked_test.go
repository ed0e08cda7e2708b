package api

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"netlab-runner/internal/jobs"
	"netlab-runner/test/certificate"
)

// HTTP/1.0 knows no chunks: a stream is the bytes up to the end of the connection.
func TestStreamsOfHTTP10(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.Heartbeat = 20 * time.Millisecond })
	b.online(hostNamed("a"))
	p := b.running()
	p.write("line 1\n")
	p.shown()
	for _, connection := range []string{"", "Connection: keep-alive\r\n"} {
		for form, first := range map[string]string{"text/plain": "line 1\n", "text/event-stream": "event: log\nid: 7\n"} {
			conn := b.connect()
			stream := rawStream(t, conn, "GET /jobs/"+p.ID+"/log HTTP/1.0\r\nAccept: "+form+"\r\n"+connection+"\r\n")
			for _, name := range []string{"Transfer-Encoding", "Content-Length"} {
				if value := stream.header.Get(name); value != "" {
					t.Errorf("%s %q", name, value)
				}
			}
			if stream.status != http.StatusOK || !strings.HasPrefix(stream.header.Get("Content-Type"), form) || stream.header.Get("Cache-Control") == "" {
				t.Errorf("%d %v", stream.status, stream.header)
			}
			got := make([]byte, len(first))
			if _, err := io.ReadFull(stream.body, got); err != nil || string(got) != first {
				t.Errorf("%q, %v", got, err)
			}
			_ = conn.Close()
		}
	}
	conn := b.connect()
	stream := rawStream(t, conn, "GET /jobs/"+p.ID+"/log?follow=true HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
	p.write("line 2\n")
	p.move(jobs.Succeed)
	if text, err := io.ReadAll(stream.body); err != nil || string(text) != "line 1\nline 2\n" {
		t.Errorf("%q, %v", text, err)
	}
	// Other answers have their length, and keep the connection where they are asked to.
	conn = b.connect()
	for range 2 {
		b.is(raw(t, conn, "GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"), http.StatusOK, `{"status":"ok"}`)
	}
	got := raw(t, conn, "GET /healthz HTTP/1.0\r\n\r\n")
	b.is(got, http.StatusOK, `{"status":"ok"}`)
	if rest, err := io.ReadAll(conn); err != nil || len(rest) > 0 {
		t.Errorf("after the last answer: %q, %v", rest, err)
	}
	head := b.connect()
	if _, err := io.WriteString(head, "HEAD /jobs/"+p.ID+"/log?follow=true HTTP/1.0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(head); err != nil || !strings.HasSuffix(string(text), "\r\n\r\n") || strings.Contains(string(text), "hunked") {
		t.Errorf("%q, %v", text, err)
	}
}

// A stream that is broken off is no whole one, and a stop waits for it.
func TestBrokenStreamsOfHTTP10(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.online(hostNamed("a"))
	p := b.running()
	p.write("line 1\n")
	conn := b.connect()
	stream := rawStream(t, conn, "GET /jobs/"+p.ID+"/log?follow=true HTTP/1.0\r\n\r\n")
	if line, err := stream.body.ReadString('\n'); err != nil || line != "line 1\n" {
		t.Fatalf("%q, %v", line, err)
	}
	b.api.stop(errStopping)
	if rest, err := io.ReadAll(stream.body); err == nil {
		t.Errorf("a stream that was broken off ends with %q like a whole one", rest)
	}
	b.api.unchunked.Wait()
}

// A client that speaks plain HTTP to the port of TLS is told so.
func TestPlainHTTPOnTLS(t *testing.T) {
	t.Parallel()
	cert, key, _ := certificate.Make(t)
	b := prepare(t, func(c *Config) { c.TLSCert, c.TLSKey = cert, key })
	b.follow()
	b.serve()
	for _, request := range []string{
		"GET /jobs HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST /jobs HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n" + strings.Repeat("x", 200_000),
		"M-SEARCH * HTTP/1.1\r\n\r\n",
		"DELETE /jobs HTTP/1.0\r\n\r\n",
	} {
		got := raw(t, b.connect(), request)
		b.isError(got, http.StatusBadRequest, "https://")
	}
	for _, noise := range []string{"\x00\x01\x02\x03\x04\x05", "hello there\r\n", "\x16\x03\x01\x00\x01\x00"} {
		conn := b.connect()
		if _, err := io.WriteString(conn, noise); err != nil {
			t.Fatal(err)
		}
		_ = conn.(*net.TCPConn).CloseWrite()
		if text, _ := io.ReadAll(bufio.NewReader(conn)); strings.HasPrefix(string(text), "HTTP") {
			t.Errorf("%q gets %q", noise, text)
		}
	}
}
