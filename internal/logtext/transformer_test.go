package logtext_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/text/transform"

	"netlab-runner/internal/logtext"
)

// A secret longer than the buffers of transform.Reader and transform.Writer (4 KiB), and output that is invalid in between.
func longInput() (secrets []string, in, want string) {
	secret := strings.Repeat("0123456789abcde", 1000)
	in = "before " + secret + " \xff between " + secret[:9000] + " € " + secret + "\xe2\x82"
	want = "before *** \ufffd between " + secret[:9000] + " € ***\ufffd\ufffd"
	return []string{secret, "0123456789!"}, in, want
}

func TestTransformerThroughReader(t *testing.T) {
	t.Parallel()
	secrets, in, want := longInput()
	for name, r := range map[string]io.Reader{
		"whole":      strings.NewReader(in),
		"byte":       iotest.OneByteReader(strings.NewReader(in)),
		"data error": iotest.DataErrReader(strings.NewReader(in)),
	} {
		got, err := io.ReadAll(transform.NewReader(r, logtext.New(secrets)))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestTransformerThroughWriter(t *testing.T) {
	t.Parallel()
	secrets, in, want := longInput()
	r := rand.New(rand.NewPCG(1, 1))
	var out bytes.Buffer
	w := transform.NewWriter(&out, logtext.New(secrets))
	for rest := in; rest != ""; {
		n := 1 + r.IntN(min(len(rest), 10000))
		if m, err := io.WriteString(w, rest[:n]); m != n || err != nil {
			t.Fatalf("wrote %d of %d: %v", m, n, err)
		}
		rest = rest[n:]
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTransformerResets(t *testing.T) {
	t.Parallel()
	secrets, in, want := longInput()
	tr := logtext.New(secrets)
	for range 2 { // transform.String resets first
		got, _, err := transform.String(tr, in)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	if _, _, err := tr.Transform(nil, []byte("left over"), false); !errors.Is(err, transform.ErrShortDst) {
		t.Errorf("without room: %v", err)
	}
	if got, _, err := transform.String(tr, "new"); got != "new" || err != nil {
		t.Errorf("after a reset: %q, %v", got, err)
	}
}

func FuzzTransformerSmallBuffers(f *testing.F) {
	f.Add("hunter22", "pw hunter22 € \xff", uint64(1))
	f.Fuzz(func(t *testing.T, secret, in string, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 1))
		tr := logtext.New([]string{secret})
		var got bytes.Buffer
		dst := make([]byte, 7)
		rest := []byte(in)
		for {
			n := r.IntN(len(rest) + 1)
			nDst, nSrc, err := tr.Transform(dst[:1+r.IntN(len(dst))], rest[:n], n == len(rest))
			got.Write(dst[:nDst])
			rest = rest[nSrc:]
			if err != nil && !errors.Is(err, transform.ErrShortDst) {
				t.Fatal(err)
			}
			if err == nil && nSrc != n {
				t.Fatalf("took %d of %d without saying why", nSrc, n)
			}
			if err == nil && n == len(rest)+nSrc {
				break
			}
		}
		if diff := cmp.Diff(reference([]string{secret}, in), got.String()); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	})
}
