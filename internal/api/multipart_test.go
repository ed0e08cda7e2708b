package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"

	"netlab-runner/internal/jobs"
)

// form is a multipart body of parts given as name, content, and its content type.
func form(t *testing.T, parts ...string) (body, contentType string) {
	t.Helper()
	var text bytes.Buffer
	w := multipart.NewWriter(&text)
	for i := 0; i < len(parts); i += 2 {
		part, err := w.CreateFormFile(parts[i], "file")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := part.Write([]byte(parts[i+1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return text.String(), "Content-Type: " + w.FormDataContentType()
}

// formArchive begins as a tar.gz does, and is none: the API does not look any further.
const formArchive = "\x1f\x8barchive"

const formJob = `{"action":"create","workdir":"/home/lab/one","environment":{"NETLAB_DEVICE":"frr"},"unheard":1}`

func TestSubmitWithABundle(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.online(hostNamed("a"))
	archive := "\x1f\x8b\x00\r\n--x\xff" + strings.Repeat("0123456789abcdef", 40_000)
	body, contentType := form(t, "bundle", archive, "job", formJob)
	got := b.do(http.MethodPost, "/jobs", body, contentType)
	job := decode[jobs.Job](t, got.body)
	if got.status != http.StatusAccepted || job.Request.Bundle == nil || job.Request.Bundle.Bytes != len(archive) ||
		job.Request.Environment["NETLAB_DEVICE"] != "frr" || len(job.Warnings) != 1 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	// As curl -F sends it: the job is a plain field.
	body = "--b\r\nContent-Disposition: form-data; name=\"job\"\r\n\r\n" + formJob + "\r\n--b\r\n" +
		"Content-Disposition: form-data; name=\"bundle\"; filename=\"x.zip\"\r\nContent-Type: application/zip\r\n\r\nPK\x03\x04\r\n--b--\r\n"
	if got := b.do(http.MethodPost, "/jobs", body, "Content-Type: Multipart/Form-Data; boundary=b"); got.status != http.StatusAccepted {
		t.Errorf("as curl sends it: %d %s", got.status, got.body)
	}
}

func TestSubmitWithABundleRefuses(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.online(hostNamed("a"))
	whole, wholeType := form(t, "job", formJob, "bundle", formArchive)
	post := func(body, contentType string, status int, words ...string) {
		t.Helper()
		b.isError(b.do(http.MethodPost, "/jobs", body, contentType), status, words...)
	}
	for _, test := range []struct {
		parts []string
		words []string
	}{
		{nil, []string{"body: "}},
		{[]string{"job", formJob}, []string{"bundle: is missing", `"bundle" with the archive`}},
		{[]string{"bundle", formArchive}, []string{"job: is missing"}},
		{[]string{"job", formJob, "bundle", formArchive, "bundle", formArchive}, []string{"body: ", `"bundle" twice`}},
		{[]string{"job", formJob, "job", formJob, "bundle", formArchive}, []string{"body: ", `"job" twice`}},
		{[]string{"job", formJob, "file", formArchive}, []string{"body: ", `the part "file"`, "each once"}},
		{[]string{"payload", formJob, "bundle", formArchive}, []string{"body: ", `the part "payload"`}},
		{[]string{"job", formJob, "bundle", ""}, []string{"bundle: is empty"}},
		{[]string{"job", formJob, "bundle", "archive"}, []string{"bundle: is neither a tar.gz nor a zip", "tar -czf"}},
		{[]string{"job", `{"action":"fly","timeoutSeconds":-1}`, "bundle", "archive"}, []string{"action: ", "timeoutSeconds: ", "bundle: is neither"}},
		{[]string{"job", "", "bundle", formArchive}, []string{"body: is empty"}},
		{[]string{"job", "[]", "bundle", formArchive}, []string{"body: must be a JSON object"}},
		{[]string{"job", `{"action":"down","workdir":"/home/x"}`, "bundle", formArchive}, []string{"bundle: means nothing for down"}},
		{[]string{"job", `{"workdir":"/home/x","topology":"nodes: [a]"}`, "bundle", formArchive}, []string{"bundle: is given together with topology"}},
		{[]string{"job", `{"workdir":"/etc/x"}`, "bundle", formArchive}, []string{"workdir: "}},
	} {
		body, contentType := form(t, test.parts...)
		post(body, contentType, http.StatusBadRequest, test.words...)
	}
	for n := range len(whole) - len("\r\n") { // at the end without the last line break it is whole
		if n%37 == 0 || n > len(whole)-10 {
			post(whole[:n], wholeType, http.StatusBadRequest)
		}
	}
	post(whole, "Content-Type: multipart/form-data", http.StatusBadRequest, "body: ", "boundary")
	post(whole, "Content-Type: multipart/mixed; boundary=x", http.StatusBadRequest, "body: ", "multipart/form-data")
	post(whole, "Content-Type: multipart/form-data; boundary=other", http.StatusBadRequest, "body: ")
	b.isError(b.do(http.MethodPost, "/jobs", whole, wholeType, "Content-Encoding: gzip"), http.StatusUnsupportedMediaType, "Content-Encoding")
	if got := b.get("/jobs"); !strings.HasPrefix(got.body, `{"jobs":[]`) {
		t.Errorf("jobs of refused requests: %s", got.body)
	}
}

// A multipart body may be larger than a JSON one, and neither larger than its limit, whether or not its length is announced.
func TestBodyLimits(t *testing.T) {
	t.Parallel()
	const bodyLimit, bundleLimit = 64 << 10, 512 << 10
	b := setup(t, func(c *Config) { c.BodyLimit, c.BundleLimit = bodyLimit, bundleLimit })
	b.online(hostNamed("a"))
	room := 1 << 10 // for what frames the parts
	body, contentType := form(t, "job", formJob, "bundle", formArchive+strings.Repeat("x", bundleLimit-room-len(formArchive)))
	if got := b.do(http.MethodPost, "/jobs", body, contentType); got.status != http.StatusAccepted {
		t.Errorf("a bundle below its limit: %d %s", got.status, got.body)
	}
	tooLarge, contentType := form(t, "job", formJob, "bundle", strings.Repeat("x", bundleLimit))
	padded := `{"workdir":"/home/lab/one","unheard":"` + strings.Repeat("x", bodyLimit) + `"}`
	job, jobType := form(t, "job", padded, "bundle", formArchive)
	b.isError(b.do(http.MethodPost, "/jobs", job, jobType), http.StatusRequestEntityTooLarge, "job: has more than 65536 bytes (NETLAB_API_BODY_LIMIT)")
	for _, test := range []struct{ body, contentType, word string }{
		{tooLarge, contentType, "body: has more than 524288 bytes (NETLAB_API_BUNDLE_LIMIT)"},
		{padded, "Content-Type: application/json", "body: has more than 65536 bytes (NETLAB_API_BODY_LIMIT)"},
		{padded, "Content-Type: ", "body: has more than 65536 bytes (NETLAB_API_BODY_LIMIT)"},
	} {
		head := "POST /jobs HTTP/1.1\r\nHost: a\r\n" + test.contentType + "\r\n"
		announced := fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", head, len(test.body), test.body)
		chunked := fmt.Sprintf("%sTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", head, len(test.body), test.body)
		b.isError(raw(t, b.connect(), announced), http.StatusRequestEntityTooLarge, test.word)
		b.isError(raw(t, b.connect(), chunked), http.StatusRequestEntityTooLarge, test.word)
	}
}

// A topology that fits into no message is accepted.
func TestSubmitALargeTopology(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.online(hostNamed("a"))
	text, err := json.Marshal("nodes: [ r1 ]\n#" + strings.Repeat("x", 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	job := b.submit(`{"action":"validate","workdir":"/home/lab/one","topology":` + string(text) + `}`)
	if job.Request.Topology.Bytes != 1<<20+15 {
		t.Errorf("%+v", job.Request.Topology)
	}
}

// The parts of a body take no more room than a second body, as the limit of the memory for bodies has it.
func TestPartsInMemory(t *testing.T) {
	t.Parallel()
	const large = 8 << 20
	for name, order := range map[string][]string{"job first": {"job", "bundle"}, "bundle first": {"bundle", "job"}} {
		var body bytes.Buffer
		w := multipart.NewWriter(&body)
		for _, part := range order {
			text := `{"workdir":"/labs/x"}`
			if part == "bundle" {
				text = formArchive + strings.Repeat("x", large-len(formArchive))
			}
			if err := w.WriteField(part, text); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		job, bundle, err := readParts(w.FormDataContentType(), body.Bytes())
		if err != nil || len(bundle) != large {
			t.Fatalf("%s: %d bytes, %v", name, len(bundle), err)
		}
		if held := cap(job) + cap(bundle); held > body.Len()+64<<10 {
			t.Errorf("%s: %d bytes are held of a body of %d", name, held, body.Len())
		}
	}
}
