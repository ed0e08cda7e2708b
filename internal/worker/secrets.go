package worker

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"netlab-runner/internal/durable"
	"netlab-runner/internal/logtext"
)

// secrets are the secret variables of a job, by name.
type secrets map[string]string

// list returns the values.
func (s secrets) list() []string { return slices.Sorted(maps.Values(s)) }

// over lays the values over the request's variables, which show them masked.
func (s secrets) over(shown map[string]string) map[string]string {
	all := maps.Clone(shown)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, s)
	return all
}

// cutMark is at the end of what the driver has cut off.
const cutMark = "…"

// mask makes text that Netlab wrote fit to be shown, by the rules of the log. Of text that was cut off it leaves out what may be the
// beginning of a secret.
func (s secrets) mask(text string) string {
	t := logtext.NewText(s.list())
	whole, cut := strings.CutSuffix(text, cutMark)
	masked := string(t.Write([]byte(whole)))
	if cut {
		return masked + cutMark
	}
	return masked + string(t.Close())
}

const (
	// hiddenSuffix is of the file beside the output that has what the run writes and nobody is shown.
	hiddenSuffix = ".hidden"
	// hiddenText is why, for the log and the job.
	hiddenText = "the rest of the log is left out: the secrets of the run cannot be masked any more, since the key that they were sealed to (host.key) is gone"
)

// hideOutput has the log go on without what the run writes, once and for good, where that was begun with secrets that are not known
// any more. Whoever has the output open writes on into the file that was put aside.
func (r *run) hideOutput(ctx context.Context, begun bool) error {
	output := r.entry.output()
	_, err := os.Stat(output + hiddenSuffix)
	switch {
	case err == nil:
		r.hidden = true
	case !errors.Is(err, fs.ErrNotExist):
		return err
	case r.sealed == nil || !begun:
		return nil
	default:
		err := os.Rename(output, output+hiddenSuffix)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // there is nothing to be shown
		}
		if err != nil {
			return err
		}
		r.hidden = true
	}
	if _, err := os.Stat(output); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	end, err := r.publishedEnd(ctx)
	if err == nil {
		err = saveOffset(output+baseSuffix, end)
	}
	if err != nil {
		return err
	}
	return durable.Write(output, []byte(logtext.Own+hiddenText+"\n"))
}
