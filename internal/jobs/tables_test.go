package jobs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"testing"
)

// Each constant of a type stands in the type's table.
func TestTablesAreWhole(t *testing.T) {
	t.Parallel()
	tables := map[string][]string{"Action": texts(Actions), "State": texts(States), "Event": texts(Events), "Reason": texts(Reasons)}
	found := map[string][]string{}
	for _, name := range []string{"job.go", "state.go"} {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || len(spec.Values) != 1 {
				return true
			}
			of, isName := spec.Type.(*ast.Ident)
			value, isText := spec.Values[0].(*ast.BasicLit)
			if isName && isText {
				word, err := strconv.Unquote(value.Value)
				if err != nil {
					t.Fatal(err)
				}
				found[of.Name] = append(found[of.Name], word)
			}
			return true
		})
	}
	for name, table := range tables {
		if !slices.Equal(found[name], table) {
			t.Errorf("%s: the constants are %q, the table has %q", name, found[name], table)
		}
	}
}

func texts[T ~string](values []T) []string {
	var list []string
	for _, v := range values {
		list = append(list, string(v))
	}
	return list
}
