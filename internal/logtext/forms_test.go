package logtext_test

import (
	"strings"
	"testing"

	"netlab-runner/internal/logtext"
)

// A secret is masked however a program writes it.
func TestSecretsAreMaskedInEveryForm(t *testing.T) {
	t.Parallel()
	const key = "-----BEGIN KEY-----\nMIIEvSECRET/+line\nQUJD\"quoted\"\n-----END KEY-----\n"
	const quoted = `pa"ss\word-Ä-lo'ng😀`
	for name, output := range map[string]string{
		"as it is":     key + quoted,
		"indented":     "  | MIIEvSECRET/+line\r\n  | QUJD\"quoted\"\n",
		"JSON":         `{"a": "-----BEGIN KEY-----\nMIIEvSECRET/+line\nQUJD\"quoted\"\n-----END KEY-----\n", "b": "pa\"ss\\word-Ä-lo'ng😀"}`,
		"Python's":     `{"b": "pa\"ss\\word-\u00c4-lo'ng\ud83d\ude00"}`,
		"Go's":         `"pa\"ss\\word-\u00c4-lo'ng\U0001f600"`,
		"a URL":        "?key=pa%22ss%5Cword-%C3%84-lo%27ng%F0%9F%98%80&",
		"a shell's":    `'pa"ss\word-Ä-lo'"'"'ng😀'`,
		"another's":    `'pa"ss\word-Ä-lo'\''ng😀'`,
		"base64":       "LS0tLS1CRUdJTiBLRVktLS0tLQpNSUlFdlNFQ1JFVC8rbGluZQpRVUpEInF1b3RlZCIKLS0tLS1FTkQgS0VZLS0tLS0K",
		"HTML in JSON": `"\u003csecret\u003e\u0026"`,
	} {
		text := logtext.NewText([]string{key, quoted, "<secret>&", "short"})
		got := string(text.Write([]byte(output+" short "))) + string(text.Close())
		for _, part := range []string{"MIIE", "QUJD", "pa", "word", "ng", "LS0t", "secret"} {
			if strings.Contains(got, part) {
				t.Errorf("%s: %s", name, got)
			}
		}
		if !strings.Contains(got, "***") || !strings.Contains(got, " short ") {
			t.Errorf("%s: %s", name, got)
		}
	}
}
