package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/aclements/go-moremath/stats"
)

// row is one line of what a benchmark program writes as JSON.
type row struct {
	Name   string    `json:"name"`
	Unit   string    `json:"unit"`
	Better string    `json:"better"` // "more" or "less"
	Here   []float64 `json:"here"`   // a value of each round
	// Reference says that the program under test has no part in the row. A revision that says so of none may have some.
	Reference bool `json:"reference"`
}

// merge adds the values of another run of the same benchmarks to rows, and rows that were not there. What a row is called in its
// figure becomes its whole name: "  processor time of the server" says nothing by itself. Of rows with the same name and values that
// have several baselines the first one stays.
func merge(rows, more []row) []row {
	figure := ""
	seen := map[string]bool{}
	for _, m := range more {
		if part, ok := strings.CutPrefix(m.Name, "  "); ok {
			m.Name = figure + ": " + part
		} else {
			figure = m.Name
		}
		if seen[m.Name] {
			continue
		}
		seen[m.Name] = true
		if at := find(rows, m.Name); at >= 0 {
			rows[at].Here = append(rows[at].Here, m.Here...)
		} else {
			rows = append(rows, m)
		}
	}
	return rows
}

// find returns the index of the row with the name, -1 if there is none.
func find(rows []row, name string) int {
	return slices.IndexFunc(rows, func(r row) bool { return r.Name == name })
}

// verdict is what became of a row.
type verdict string

const (
	better        verdict = "better"
	worse         verdict = "worse"
	noChange      verdict = "no change seen"
	tooFew        verdict = "too few values to tell"
	notComparable verdict = "not comparable"
)

// change is a row of one revision or of both.
type change struct {
	row           row // without values
	before, after []float64
	verdict       verdict
	// loss is by which factor the median got worse: 2 is half as good, 0.5 twice as good. 0 where it cannot be told.
	loss float64
}

// significance is how likely it may be that values which differ so much come from revisions that do not.
const significance = 0.05

// changesOf compares each row of before and after, in the order of after; those that only before has come last.
func changesOf(before, after []row) []change {
	var changes []change
	for _, a := range after {
		c := change{row: a, after: a.Here}
		if at := find(before, a.Name); at >= 0 && before[at].Unit == a.Unit && before[at].Better == a.Better {
			c.before = before[at].Here
			c.row.Reference = a.Reference || before[at].Reference
		}
		c.judge()
		changes = append(changes, c)
	}
	for _, b := range before {
		if find(after, b.Name) < 0 {
			changes = append(changes, change{row: b, before: b.Here, verdict: notComparable})
		}
	}
	return changes
}

// judge tells a change from noise by the U-test of Mann and Whitney, which asks for no certain distribution: a row is better or worse
// where values that come from the same distribution would differ so in less than 5 of 100 cases.
func (c *change) judge() {
	test, err := stats.MannWhitneyUTest(c.before, c.after, stats.LocationDiffers)
	switch {
	case errors.Is(err, stats.ErrSampleSize):
		c.verdict = notComparable
		return
	case errors.Is(err, stats.ErrSamplesEqual):
		c.verdict = noChange
		return
	}
	before, after := median(c.before), median(c.after)
	if c.row.Better == "more" {
		before, after = after, before
	}
	if before > 0 {
		c.loss = after / before
	}
	switch {
	case leastChance(len(c.before), len(c.after)) >= significance:
		c.verdict = tooFew
	case test.P >= significance || before == after:
		c.verdict = noChange
	case after > before:
		c.verdict = worse
	default:
		c.verdict = better
	}
}

// leastChance is how likely it is that all of n values are above all of m others, or below them, where they do not differ.
func leastChance(n, m int) float64 {
	chance := 2.0
	for i := 1; i <= n; i++ {
		chance *= float64(i) / float64(m+i)
	}
	return chance
}

func median(values []float64) float64 { return stats.Sample{Xs: values}.Quantile(0.5) }

// greatLoss is the factor beyond which something that got worse is a failure.
const greatLoss = 2

// losses is an error that names what got worse by more than a factor of 2, beyond noise. Where that left no time for enough values to tell,
// each of them has to say so. What the program under test has no part in is none of its losses.
func losses(changes []change) error {
	var errs []error
	for _, c := range changes {
		if c.row.Reference {
			continue
		}
		if (c.verdict == worse && c.loss > greatLoss) || (c.verdict == tooFew && c.leastLoss() > greatLoss) {
			errs = append(errs, fmt.Errorf("worse by a factor of %.3g, more than %d: %s", c.loss, greatLoss, c.row.Name))
		}
	}
	return errors.Join(errs...)
}

// leastLoss is by which factor the best value after is worse than the worst one before; 0 where one value alone would say so.
func (c *change) leastLoss() float64 {
	if len(c.before) < 2 || len(c.after) < 2 {
		return 0
	}
	before, after := slices.Max(c.before), slices.Min(c.after)
	if c.row.Better == "more" {
		before, after = slices.Max(c.after), slices.Min(c.before)
	}
	if before <= 0 {
		return 0
	}
	return after / before
}

// writeChanges writes the table.
func writeChanges(w io.Writer, before, after *revision, changes []change) error {
	if len(changes) == 0 {
		_, err := fmt.Fprintln(w, "nothing to compare: no figure was taken")
		return err
	}
	if _, err := fmt.Fprintf(w, "before: %s, after: %s; medians, with the least and the most in brackets\n\n", before, after); err != nil {
		return err
	}
	columns := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(columns, "figure\tunit\tbefore\tafter\tchange\tverdict") // Flush says what failed
	for _, c := range changes {
		_, _ = fmt.Fprintf(columns, "%s\t%s\t%s\t%s\t%s\t%s\n", c.row.Name, c.row.Unit, spread(c.before), spread(c.after), c.percent(), c.verdict)
	}
	return columns.Flush()
}

// percent is by how much the median changed.
func (c *change) percent() string {
	if len(c.before) == 0 || len(c.after) == 0 || median(c.before) == 0 {
		return "–"
	}
	return fmt.Sprintf("%+.0f %%", 100*(median(c.after)/median(c.before)-1))
}

func spread(values []float64) string {
	if len(values) == 0 {
		return "–"
	}
	return fmt.Sprintf("%.4g (%.4g–%.4g)", median(values), slices.Min(values), slices.Max(values))
}
