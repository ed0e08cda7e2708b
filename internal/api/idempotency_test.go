package api

import (
	"net/http"
	"strings"
	"sync"
	"testing"

	"netlab-runner/internal/jobs"
)

const keyHeader = "Idempotency-Key: "

func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.online(hostNamed("a"))
	body := `{"action":"create","workdir":"/home/lab/one"}`
	first := b.do(http.MethodPost, "/jobs", body, keyHeader+"k1")
	job := decode[jobs.Job](t, first.body)
	location := "/jobs/" + job.ID
	if first.status != http.StatusAccepted || first.header.Get("Location") != location || first.header.Get("Idempotent-Replayed") != "" {
		t.Fatalf("%d %v %s", first.status, first.header, first.body)
	}
	p := &played{testBundle: b, Job: job}
	p.move(jobs.Start)
	p.shown()
	// In any form of the body: it is what is asked for that counts.
	for _, same := range []string{body, ` {"workdir" : "/home/lab/one","action":"CREATE"}`} {
		again := b.do(http.MethodPost, "/jobs", same, keyHeader+"k1")
		got := decode[jobs.Job](t, again.body)
		if again.status != http.StatusAccepted || again.header.Get("Location") != location || again.header.Get("Idempotent-Replayed") != "true" ||
			got.ID != job.ID || got.State != jobs.Running {
			t.Errorf("%s: %d %v %s", same, again.status, again.header, again.body)
		}
	}
	b.isError(b.do(http.MethodPost, "/jobs", `{"action":"create","workdir":"/home/lab/two"}`, keyHeader+"k1"),
		http.StatusUnprocessableEntity, "Idempotency-Key: ", job.ID)
	// A body that can be no job stays a 400.
	b.isError(b.do(http.MethodPost, "/jobs", `{"action":"fly"}`, keyHeader+"k1"), http.StatusBadRequest, "action: ")
	// Quotes are part of the key, and an empty one is none.
	for _, header := range []string{`"k1"`, "k2", "K1", strings.Repeat("x", 255), "", ""} {
		got := b.do(http.MethodPost, "/jobs", body, keyHeader+header)
		if other := decode[jobs.Job](t, got.body); got.status != http.StatusAccepted || other.ID == job.ID || got.header.Get("Idempotent-Replayed") != "" {
			t.Errorf("%q: %d %s", header, got.status, got.body)
		}
	}
	if got := len(decode[listed](t, b.get("/jobs").body).Jobs); got != 7 {
		t.Errorf("%d jobs", got)
	}
}

func TestIdempotencyKeysThatAreNone(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.online(hostNamed("a"))
	for header, words := range map[string]string{
		strings.Repeat("x", 256): "has 256 characters: use at most 255",
		"schlüssel":              "printable ASCII",
		"a\tb":                   "printable ASCII",
	} {
		b.isError(b.do(http.MethodPost, "/jobs", `{"workdir":"/home/lab/one"}`, keyHeader+header), http.StatusBadRequest, "Idempotency-Key: ", words)
	}
	b.isError(b.do(http.MethodPost, "/jobs", `{"workdir":"/home/lab/one"}`, keyHeader+"a", keyHeader+"a"), http.StatusBadRequest, "Idempotency-Key: is given 2 times")
	if got := len(decode[listed](t, b.get("/jobs").body).Jobs); got != 0 {
		t.Errorf("%d jobs", got)
	}
}

func TestIdempotencyKeysAreOfTheirCredential(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.User, c.Password, c.Token = "ö", "password", "password" })
	clients := []string{basic("ö:password"), basic("\xf6:password"), "Authorization: Bearer password"}
	for _, who := range clients {
		// What did not become a job takes nothing of the key. And the first time takes longer than the host lives.
		b.isError(b.do(http.MethodPost, "/jobs", `{"workdir":"/home/lab/none"}`, keyHeader+"k", who), http.StatusServiceUnavailable, "no host")
	}
	b.online(hostNamed("a"))
	ids := map[string]int{}
	for _, who := range clients {
		got := b.do(http.MethodPost, "/jobs", `{"workdir":"/home/lab/one"}`, keyHeader+"k", who)
		if got.status != http.StatusAccepted {
			t.Fatalf("%d %s", got.status, got.body)
		}
		ids[decode[jobs.Job](t, got.body).ID]++
	}
	if len(ids) != 2 {
		t.Errorf("jobs of the user, in two encodings, and the token: %v", ids)
	}
	b.isError(b.do(http.MethodPost, "/jobs", `{"workdir":"/home/lab/one"}`, keyHeader+"k"), http.StatusUnauthorized)
}

// Many requests at once, with the archive of a lab's files.
func TestIdempotencyKeyWithABundle(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.online(hostNamed("a"))
	archive := "\x1f\x8b" + strings.Repeat("piece", 150_000)
	send := func(archive string) reply {
		body, contentType := form(t, "job", `{"workdir":"/home/lab/one"}`, "bundle", archive)
		return b.do(http.MethodPost, "/jobs", body, contentType, keyHeader+"k")
	}
	ids := sync.Map{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			got := send(archive)
			if got.status != http.StatusAccepted {
				t.Errorf("%d %s", got.status, got.body)
				return
			}
			ids.Store(decode[jobs.Job](t, got.body).ID, true)
		})
	}
	wg.Wait()
	count := 0
	ids.Range(func(id, _ any) bool {
		count++
		birth, err := b.bus.FindBirth(b.ctx, id.(string))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := b.bus.Object(b.ctx, "a", birth.ID, birth.Object); err != nil || string(got) != archive {
			t.Errorf("the bundle: %d bytes, %v", len(got), err)
		}
		return true
	})
	if count != 1 {
		t.Errorf("%d jobs", count)
	}
	b.isError(send(archive+"x"), http.StatusUnprocessableEntity, "Idempotency-Key: ")
}
