package api

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"netlab-runner/internal/jobs"
)

// chunks reads the chunks of an answer of HTTP/1.1, and with them all of its body.
func chunks(t *testing.T, r *bufio.Reader) (sizes []int, body string) {
	t.Helper()
	var text strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("%v after %d bytes", err, text.Len())
		}
		size, err := strconv.ParseUint(strings.TrimSuffix(line, "\r\n"), 16, 31)
		if err != nil {
			t.Fatalf("a chunk with the size %q: %v", line, err)
		}
		if _, err := io.CopyN(&text, r, int64(size)); err != nil {
			t.Fatal(err)
		}
		if end, err := r.ReadString('\n'); end != "\r\n" {
			t.Fatalf("%q behind a chunk, %v", end, err)
		}
		if size == 0 {
			return sizes, text.String()
		}
		sizes = append(sizes, int(size))
	}
}

// A log is sent in large blocks, and where many others have those, in small ones: every byte of it.
func TestBlocks(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.online(hostNamed("a"))
	const size = 1 << 20
	text := strings.Repeat("│😀", size/7) + strings.Repeat("x", size%7)
	p := b.ended(text)
	for _, block := range []int{largeBlock, smallBlock} {
		if block == smallBlock {
			for range largeBlocks {
				defer b.api.blocks.give(b.api.blocks.take())
			}
		}
		for form, read := range map[string]func(body string) string{
			"text/plain":       func(body string) string { return body },
			"application/json": func(body string) string { return decode[logged](t, body).Log },
		} {
			conn := b.connect()
			if _, err := fmt.Fprintf(conn, "GET /jobs/%s/log HTTP/1.1\r\nHost: a\r\nAccept: %s\r\n\r\n", p.ID, form); err != nil {
				t.Fatal(err)
			}
			r := bufio.NewReader(conn)
			for line := ""; line != "\r\n"; { // the headers
				var err error
				if line, err = r.ReadString('\n'); err != nil {
					t.Fatal(err)
				}
			}
			sizes, body := chunks(t, r)
			if read(body) != text {
				t.Errorf("%s in blocks of %d: %d bytes are not the log", form, block, len(body))
			}
			for _, n := range sizes[:len(sizes)-1] {
				if n != block-chunkHead-chunkTail {
					t.Errorf("%s: a chunk of %d bytes in a block of %d", form, n, block)
					break
				}
			}
		}
		if got := b.get("/jobs/" + p.ID + "/log?follow=false"); got.body != text {
			t.Errorf("text with its length, in blocks of %d: %d bytes are not the log", block, len(got.body))
		}
		if events, _ := replay(t, b.get("/jobs/"+p.ID+"/log", "Accept: text/event-stream").body, 0); events != text {
			t.Errorf("events in blocks of %d: %d bytes are not the log", block, len(events))
		}
	}
}

// Blocks go past the server's own writer, which may have answers to earlier requests of the connection.
func TestStreamsBetweenOtherAnswers(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.online(hostNamed("a"))
	p := b.ended("line\n")
	var requests strings.Builder
	paths := []string{"/healthz", "/jobs/" + p.ID + "/log?follow", "/healthz", "/jobs/" + p.ID + "/log?follow=false", "/healthz"}
	for _, path := range paths {
		fmt.Fprintf(&requests, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", path)
	}
	conn := b.connect()
	if _, err := io.WriteString(conn, requests.String()); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	for _, path := range paths {
		want := `{"status":"ok"}`
		if strings.HasPrefix(path, "/jobs") {
			want = "line"
		}
		b.is(readReply(t, r), http.StatusOK, want)
	}
}

// Who waits for a line has no block meanwhile.
func TestFollowersThatWaitHoldNoBlock(t *testing.T) {
	t.Parallel()
	b, p := withALine(t)
	b.streams(p) // each has had the line
	path := "/jobs/" + p.ID + "/events"
	newEvents(b.open(path)).next(t)
	b.eventually("all blocks to be given back", func() bool { return len(b.api.blocks.room) == 0 })
	p.move(jobs.Succeed)
}
