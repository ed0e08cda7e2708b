package logtext

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
)

// forms are what a secret looks like in an output: as it is, each of its lines, which programs indent, and each of these as
// JSON, Python and URLs have it. What is shorter than MinSecret is left out.
func forms(secret string) []string {
	if len(secret) < MinSecret {
		return nil
	}
	plain := []string{secret}
	for line := range strings.Lines(secret) {
		plain = append(plain, strings.TrimSpace(line))
	}
	all := []string{base64.StdEncoding.EncodeToString([]byte(secret))}
	for _, text := range plain {
		ascii := strconv.QuoteToASCII(text)
		all = append(all, text, inJSON(text, true), inJSON(text, false), url.QueryEscape(text), url.PathEscape(text),
			ascii[1:len(ascii)-1], inPython(text), strings.ReplaceAll(text, "'", `'"'"'`), strings.ReplaceAll(text, "'", `'\''`))
	}
	seen := map[string]bool{}
	kept := all[:0]
	for _, text := range all {
		if len(text) >= MinSecret && !seen[text] {
			seen[text] = true
			kept = append(kept, text)
		}
	}
	return kept
}

// inJSON is the text as a string of JSON has it, with escapes for what HTML would want escaped, or without.
func inJSON(text string, html bool) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(html)
	if e.Encode(text) != nil {
		return ""
	}
	return strings.TrimSuffix(strings.TrimPrefix(strings.TrimSuffix(b.String(), "\n"), `"`), `"`)
}

// inPython is the text as Python's JSON has it, with no other characters than ASCII's.
func inPython(text string) string {
	var b strings.Builder
	for _, r := range inJSON(text, false) {
		switch {
		case r < 0x80:
			b.WriteRune(r)
		case r < 0x10000:
			b.WriteString(`\u` + hex(uint64(r)))
		default:
			r -= 0x10000
			b.WriteString(`\u` + hex(0xd800+uint64(r>>10)) + `\u` + hex(0xdc00+uint64(r&0x3ff)))
		}
	}
	return b.String()
}

func hex(n uint64) string {
	text := strconv.FormatUint(n, 16)
	return strings.Repeat("0", max(0, 4-len(text))) + text
}
