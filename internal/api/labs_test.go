package api

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
)

func TestLabs(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.is(b.get("/labs"), http.StatusOK, `{"errors":[],"labs":[]}`)
	for _, name := range []string{"z", "busy", "dead", "broken", "slow", "odd"} {
		b.online(hostNamed(name))
	}
	b.answer("z", "labs", func(context.Context, string) (string, error) { return `{"labs":[]}`, nil })
	b.answer("busy", "labs", func(context.Context, string) (string, error) {
		return `{"labs":[{"host":"lies","instance":"7","dir":"/home/b","user":"lab","status":"started","job":"j1"},
			{"instance":"default","dir":"/home/a","user":"ops","status":"","job":null}]}`, nil
	})
	b.answer("broken", "labs", func(context.Context, string) (string, error) { return "", errors.New("no such thing") })
	b.answer("odd", "labs", func(context.Context, string) (string, error) { return "[]", nil })
	b.answer("slow", "labs", func(ctx context.Context, question string) (string, error) {
		if strings.HasPrefix(question, "{") {
			<-ctx.Done()
		}
		return "{}", nil
	})
	got := b.get("/labs")
	b.is(got, http.StatusOK, `{"errors":[{"host":"broken","error":"host broken: no such thing"},`+
		`{"host":"dead","error":"the host does not answer: no worker listens as dead"},`+
		`{"host":"odd","error":"host odd: its answer cannot be read: json: cannot unmarshal array into Go value of type api.labsReply"},`+
		`{"host":"slow","error":"the host does not answer: no answer from slow in time"}],`+
		`"labs":[{"host":"busy","instance":"default","dir":"/home/a","user":"ops","status":"","job":null},`+
		`{"host":"busy","instance":"7","dir":"/home/b","user":"lab","status":"started","job":"j1"}]}`)
}
