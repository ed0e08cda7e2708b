package api

import (
	"encoding/json"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"netlab-runner/internal/hosts"
	"netlab-runner/internal/jobs"
	"netlab-runner/internal/topology"
)

var parameterOfPath = regexp.MustCompile(`:([A-Za-z]+)`)

// What Fiber serves is what the document names, below a prefix too.
func TestOpenAPIHasEveryRoute(t *testing.T) {
	t.Parallel()
	for _, prefix := range []string{"", "/net/lab"} {
		b := prepare(t, func(c *Config) { c.Prefix = prefix })
		var served []string
		for _, route := range b.api.app.GetRoutes(true) {
			path := parameterOfPath.ReplaceAllString(route.Path, "{$1}")
			rest, below := strings.CutPrefix(path, prefix)
			switch {
			case route.Method == http.MethodHead: // goes with GET
			case below:
				served = append(served, route.Method+" "+rest)
			case path != "/healthz" && path != "/readyz":
				t.Errorf("%s is outside of the prefix %s", path, prefix)
			}
		}
		var documented []string
		for _, o := range b.contract().Operations() {
			documented = append(documented, o.String())
		}
		slices.Sort(served)
		slices.Sort(documented)
		if !slices.Equal(served, documented) {
			t.Errorf("served:     %q\ndocumented: %q", served, documented)
		}
		if server := b.contract().At("servers"); !reflect.DeepEqual(server, []any{map[string]any{"url": "/" + strings.TrimPrefix(prefix, "/")}}) {
			t.Errorf("prefix %q: servers %v", prefix, server)
		}
	}
}

// The schemas of what answers show have the members of the Go types, each as often there and as often null.
func TestOpenAPISchemasAreTheTypes(t *testing.T) {
	t.Parallel()
	c := prepare(t, nil).contract()
	for name, shown := range map[string]any{
		"Job": jobs.Job{}, "Waiting": jobs.Waiting{}, "Problem": jobs.Problem{}, "Request": jobs.Request{}, "Content": jobs.Content{},
		"Host": hosts.Host{}, "Netlab": hosts.Netlab{}, "Lab": lab{}, "HostError": hostError{},
		"Kept": jobs.Kept{}, "Topology": topology.Topology{}, "Node": topology.Node{}, "Mgmt": topology.Mgmt{}, "Endpoint": topology.Endpoint{},
		"Interface": topology.Interface{}, "Neighbor": topology.Neighbor{}, "Link": topology.Link{}, "Prefix": topology.Prefix{},
	} {
		properties, _ := c.At("components", "schemas", name, "properties").(map[string]any)
		var required []string
		for _, member := range anyList(c.At("components", "schemas", name, "required")) {
			required = append(required, member.(string))
		}
		for _, field := range reflect.VisibleFields(reflect.TypeOf(shown)) {
			if field.Anonymous || !field.IsExported() {
				continue
			}
			member, option, _ := strings.Cut(field.Tag.Get("json"), ",")
			if properties[member] == nil {
				t.Errorf("%s: no %s", name, member)
				continue
			}
			always := option != "omitempty"
			if slices.Contains(required, member) != always {
				t.Errorf("%s.%s: required must be %v", name, member, always)
			}
			types, null := typesOf(c.At("components", "schemas", name, "properties", member))
			if want := field.Type.Kind() == reflect.Pointer && always; null != want {
				t.Errorf("%s.%s: null must be %v", name, member, want)
			}
			if want := typeOf(field.Type); !slices.Contains(types, want) {
				t.Errorf("%s.%s is %v, want %s", name, member, types, want)
			}
			delete(properties, member)
		}
		for member := range properties {
			t.Errorf("%s: %s is no member of the type", name, member)
		}
		if c.At("components", "schemas", name, "additionalProperties") != false {
			t.Errorf("%s allows members that are not listed", name)
		}
	}
}

func anyList(v any) []any {
	list, _ := v.([]any)
	return list
}

// typesOf are the types of a schema but for null.
func typesOf(schema any) (types []string, null bool) {
	object, _ := schema.(map[string]any)
	list, ok := object["type"].([]any)
	if !ok {
		list = []any{object["type"]}
	}
	for _, one := range list {
		switch name, _ := one.(string); {
		case name == "null":
			null = true
		case name == "" && object["enum"] != nil:
			types = append(types, "string")
		default:
			types = append(types, name)
		}
	}
	return types, null
}

// typeOf is the JSON type of a Go type.
func typeOf(t reflect.Type) string {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Bool:
		return "boolean"
	case reflect.Int, reflect.Int64:
		return "integer"
	case reflect.Float64:
		return "number"
	case reflect.Slice:
		return "array"
	case reflect.String:
		return "string"
	}
	if t.String() == "time.Time" {
		return "string"
	}
	return "object"
}

// The words that a field may be are those of the code's own tables.
func TestOpenAPIEnumsAreTheTables(t *testing.T) {
	t.Parallel()
	c := prepare(t, nil).contract()
	isEnum(t, c.At("components", "schemas", "Action", "enum"), jobs.Actions)
	isEnum(t, c.At("components", "schemas", "State", "enum"), jobs.States)
	isEnum(t, c.At("components", "schemas", "Reason", "enum"), jobs.Reasons)
	file, _ := c.At("paths", "/docs/{file}", "get").(map[string]any)
	parameter := anyList(file["parameters"])[0].(map[string]any)
	names := anyList(parameter["schema"].(map[string]any)["enum"])
	for _, name := range names {
		if _, ok := docsFiles[name.(string)]; !ok {
			t.Errorf("no file %s", name)
		}
	}
	if len(names) != len(docsFiles) {
		t.Errorf("%d files are documented, and %d are served", len(names), len(docsFiles))
	}
}

func isEnum[T ~string](t *testing.T, enum any, table []T) {
	t.Helper()
	var documented []T
	for _, word := range anyList(enum) {
		documented = append(documented, T(word.(string)))
	}
	if !slices.Equal(documented, table) {
		t.Errorf("documented %q, the table has %q", documented, table)
	}
}

// The payload's fields are the schema's.
func TestOpenAPIRequestHasEveryField(t *testing.T) {
	t.Parallel()
	properties, _ := prepare(t, nil).contract().At("components", "schemas", "JobRequest", "properties").(map[string]any)
	for _, field := range jobs.PayloadFields() {
		if properties[field] == nil {
			t.Errorf("the field %s is not documented", field)
		}
		delete(properties, field)
	}
	for field := range properties {
		t.Errorf("%s is no field of the payload", field)
	}
}

// The credentials that the document names are those of the service.
func TestOpenAPINamesTheCredentials(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		config Config
		want   string
	}{
		{Config{}, `[]`},
		{Config{Token: "t"}, `[{"bearer":[]}]`},
		{Config{User: "u", Password: "p", Token: "t"}, `[{"basic":[]},{"bearer":[]}]`},
	} {
		b := prepare(t, func(c *Config) {
			c.User, c.Password, c.Token = test.config.User, test.config.Password, test.config.Token
		})
		got, err := json.Marshal(b.contract().At("security"))
		if err != nil || string(got) != test.want {
			t.Errorf("%s, want %s (%v)", got, test.want, err)
		}
	}
}

// The document is read as it stands, and held to nothing less than what its readers hold it to.
func TestOpenAPIOverHTTP(t *testing.T) {
	t.Parallel()
	b := prepare(t, func(c *Config) { c.Version = "v1.2.3" })
	b.serve()
	got := b.get("/openapi.json")
	if version := decode[struct{ Info struct{ Version string } }](t, got.body).Info.Version; version != "v1.2.3" {
		t.Errorf("version %q", version)
	}
}
