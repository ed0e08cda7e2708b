package logtext_test

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"netlab-runner/internal/logtext"
)

// controls are the control characters of ASCII, and those that Unicode has besides.
const controls = "\x00\x01\x02\x03\x04\x05\x06\a\b\t\n\v\f\r\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x7f" +
	"\u0080\u0081\u0082\u0083\u0084\u0085\u0086\u0087\u0088\u0089\u008a\u008b\u008c\u008d\u008e\u008f" +
	"\u0090\u0091\u0092\u0093\u0094\u0095\u0096\u0097\u0098\u0099\u009a\u009b\u009c\u009d\u009e\u009f"

func TestText(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		secrets []string
		in      string
		want    string
	}{
		{"no secrets", nil, "plain\n", "plain\n"},
		{"empty", nil, "", ""},
		{"a secret", []string{"hunter22"}, "pw=hunter22!\n", "pw=***!\n"},
		{"twice", []string{"hunter22"}, "hunter22 hunter22", "*** ***"},
		{"side by side", []string{"hunter22"}, "hunter22hunter22", "******"},
		{"nearly", []string{"hunter22"}, "hunter2", "hunter2"},
		{"nearly, then really", []string{"hunter22"}, "hunter2hunter22", "hunter2***"},
		{"repeated beginning", []string{"aabaab"}, "aabaaabaab", "aaba***"},
		{"too short to mask", []string{"12345", ""}, "12345", "12345"},
		{"just long enough", []string{"123456"}, "0123456", "0***"},
		{"the longer of two", []string{"secret", "secret-token"}, "secret-token secret-tok", "*** ***-tok"},
		{"one inside another", []string{"xx-secret-yy", "secret"}, "xx-secret-yz xx-secret-yy", "xx-***-yz ***"},
		{"two inside another that ends otherwise", []string{"<abcdef><ghijkl>!", "abcdef", "ghijkl"}, "<abcdef><ghijkl>?", "<***><***>?"},
		{"overlapping", []string{"abcdef", "defghi"}, "-abcdefghi-", "-***-"},
		{"overlapping itself", []string{"aaaaaa"}, strings.Repeat("a", 10) + "b", "***b"},
		{"over line ends", []string{"line1\nline2"}, "line1\nline2\n", "***\n"},
		{"not ASCII", []string{"pässwörd"}, "=pässwörd=", "=***="},
		{"valid runes", nil, "é€😀", "é€😀"},
		{"each invalid byte", nil, "a\xff\xfeb", "a\ufffd\ufffdb"},
		{"unfinished rune at the end", nil, "a\xe2\x82", "a\ufffd\ufffd"},
		{"unfinished rune before ASCII", nil, "\xe2\x82x", "\ufffd\ufffdx"},
		{"overlong and surrogate", nil, "\xc0\xaf\xed\xa0\x80", "\ufffd\ufffd\ufffd\ufffd\ufffd"},
		{"U+FFFD itself", nil, "\ufffd", "\ufffd"},
		{"carriage returns", nil, "10 %\r100 %\r\r\n\n\r", "10 %\r100 %\r\r\n\n\r"},
		{"NUL", nil, "\x00a\x00\x00\n\x00", "\x00a\x00\x00\n\x00"},
		{"every control character", nil, controls, controls},
		{"colours and titles of a terminal", nil, "\x1b[1;31mred\x1b[0m \x1b]0;title\x07\b\f\v\t", "\x1b[1;31mred\x1b[0m \x1b]0;title\x07\b\f\v\t"},
		{"what nobody sees", nil, "\ufeff\u200b\u2028\u202e\uffff\U0010ffff", "\ufeff\u200b\u2028\u202e\uffff\U0010ffff"},
		{"a secret between control characters", []string{"hunter22"}, "\x00hunter22\rhunter\x0022\r", "\x00***\rhunter\x0022\r"},
		{"a secret in the middle of a rune", []string{"secret"}, "\xe2secret\x82", "\ufffd***\ufffd"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for cut := range len(c.in) + 1 {
				text := logtext.NewText(c.secrets)
				var got []byte
				got = append(got, text.Write([]byte(c.in[:cut]))...)
				got = append(got, text.Write([]byte(c.in[cut:]))...)
				got = append(got, text.Close()...)
				if diff := cmp.Diff(c.want, string(got)); diff != "" {
					t.Fatalf("cut at %d (-want +got):\n%s", cut, diff)
				}
			}
		})
	}
}

// What cannot become a secret or a rune any more must not wait: followers read the log as it is written.
func TestTextHoldsBackNoMoreThanItMust(t *testing.T) {
	t.Parallel()
	text := logtext.NewText([]string{"secret", "secret-token", "token-2"})
	for _, step := range []struct{ in, want string }{
		{"a line\n", "a line\n"},
		{"a prompt: ", "a prompt: "},
		{"sec", ""},
		{"ond ", "second "},
		{"secret", ""},
		{"-token", "***"}, // whole, nothing longer begins in it but "token"
		{"-2", ""},
		{"x", "x"},
		{"\xe2\x82", ""},
		{"\xac", "€"},
		{"\xe2", ""},
		{"x", "\ufffdx"},
		{"se", ""},
	} {
		if diff := cmp.Diff(step.want, string(text.Write([]byte(step.in)))); diff != "" {
			t.Errorf("after %q (-want +got):\n%s", step.in, diff)
		}
	}
	if diff := cmp.Diff("se", string(text.Close())); diff != "" {
		t.Errorf("close (-want +got):\n%s", diff)
	}
}

func TestTextStartsOver(t *testing.T) {
	t.Parallel()
	text := logtext.NewText([]string{"secret"})
	text.Write([]byte("xx secr"))
	text.Reset()
	if got := string(text.Write([]byte("et \xe2"))); got != "et " {
		t.Errorf("after Reset: %q", got)
	}
	if got := string(text.Close()); got != "\ufffd" {
		t.Errorf("Close: %q", got)
	}
	if got := string(text.Write([]byte("secret."))); got != "***." {
		t.Errorf("after Close: %q", got)
	}
}

// reference is the log's definition, naively: mark every byte of every form of a secret, then mask each stretch of overlapping ones.
func reference(secrets []string, in string) string {
	type span struct{ from, to int }
	var spans []span
	var forms []string
	for _, s := range secrets {
		forms = append(forms, logtext.Forms(s)...)
	}
	for end := range len(in) + 1 {
		longest := 0
		for _, s := range forms {
			if len(s) > longest && strings.HasSuffix(in[:end], s) {
				longest = len(s)
			}
		}
		if longest == 0 {
			continue
		}
		s := span{end - longest, end}
		for len(spans) > 0 && spans[len(spans)-1].to > s.from {
			s.from = min(s.from, spans[len(spans)-1].from)
			spans = spans[:len(spans)-1]
		}
		spans = append(spans, s)
	}
	var masked strings.Builder
	at := 0
	for _, s := range spans {
		masked.WriteString(in[at:s.from] + "***")
		at = s.to
	}
	masked.WriteString(in[at:])

	var out strings.Builder
	for s := masked.String(); len(s) > 0; {
		r, size := utf8.DecodeRuneInString(s)
		out.WriteRune(r)
		s = s[size:]
	}
	return out.String()
}

func cutAtRandom(text *logtext.Text, in []byte, r *rand.Rand) string {
	var out bytes.Buffer
	for len(in) > 0 {
		n := 1 + r.IntN(min(len(in), 1+r.IntN(len(in))))
		out.Write(text.Write(in[:n]))
		in = in[n:]
	}
	out.Write(text.Close())
	return out.String()
}

func TestTextIsTheSameHoweverItIsCut(t *testing.T) {
	t.Parallel()
	// Two letters make beginnings, overlaps and secrets inside secrets frequent.
	word := func(r *rand.Rand, n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = "ab"[r.IntN(2)]
		}
		return string(b)
	}
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		var secrets []string
		for range 1 + r.IntN(4) {
			secrets = append(secrets, word(r, 1+r.IntN(12)))
		}
		var in strings.Builder
		for in.Len() < 400 {
			switch r.IntN(4) {
			case 0:
				in.WriteString(secrets[r.IntN(len(secrets))])
			case 1:
				in.WriteString("€\xe2\x82\n"[r.IntN(4):])
			default:
				in.WriteString(word(r, 1+r.IntN(8)))
			}
		}
		want := reference(secrets, in.String())
		for range 5 {
			if diff := cmp.Diff(want, cutAtRandom(logtext.NewText(secrets), []byte(in.String()), r)); diff != "" {
				t.Fatalf("seed %d, secrets %q, in %q (-want +got):\n%s", seed, secrets, in.String(), diff)
			}
		}
	}
}

func FuzzText(f *testing.F) {
	f.Add("hunter22", "xhunter2", "hunter22 xhunter22 \xe2\x82", uint64(1))
	f.Add("aaaaaa", "aaaaaab", "aaaaaaaaaaaaaaab", uint64(2))
	f.Fuzz(func(t *testing.T, a, b, in string, seed uint64) {
		secrets := []string{a, b}
		want := reference(secrets, in)
		got := cutAtRandom(logtext.NewText(secrets), []byte(in), rand.New(rand.NewPCG(seed, 1)))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	})
}

// Secrets and output that are made for each other must cost no more than others: both come from a client.
func TestTextIsLinear(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 32<<10)
	text := logtext.NewText([]string{"aaaaaa", long + "b", long[:16<<10] + "c", long[:8<<10] + "d"})
	in := bytes.Repeat([]byte("a"), 64<<10)
	size := 0
	for range 64 { // 4 MiB: a hundredth of a second a block, or minutes if it were quadratic
		size += len(text.Write(in))
	}
	size += len(text.Close())
	if size != len("***") {
		t.Errorf("the log has %d bytes", size)
	}
}

func BenchmarkText(b *testing.B) {
	line := "TASK [deploy initial configuration] *** ok: [r1] => {\"changed\": true, \"path\": \"/etc/frr\"}\n"
	plain := []byte(strings.Repeat(line, (64<<10)/len(line)))
	secrets := []string{"correct-horse-battery", "hunter22", "tok_0123456789abcdef", strings.Repeat("k", 2048)}
	for _, c := range []struct {
		name    string
		secrets []string
		in      []byte
	}{
		{"copy", nil, plain},
		{"4secrets", secrets, plain},
		{"4secrets,invalid", secrets, bytes.ReplaceAll(plain, []byte("ok"), []byte("\xff\xfe"))},
		{"4secrets,many", secrets, bytes.ReplaceAll(plain, []byte("changed"), []byte("hunter22"))},
	} {
		b.Run(c.name, func(b *testing.B) {
			text := logtext.NewText(c.secrets)
			b.SetBytes(int64(len(c.in)))
			b.ReportAllocs()
			for b.Loop() {
				text.Write(c.in)
			}
		})
	}
}
