package jobs

import (
	"regexp"
	"strings"

	"netlab-runner/internal/logtext"
)

// Limits of the environment.
const (
	maxVariables        = 100
	maxVariableBytes    = 32 << 10
	maxEnvironmentBytes = 128 << 10
)

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)

// environment returns the environment as it is shown, and the secret values in it.
func (f *fields) environment() (shownValues, secrets map[string]string) {
	const field = "environment"
	shownValues, secrets = make(map[string]string), make(map[string]string)
	var short []string
	total := 0
	variables := f.pairs(field)
	for _, v := range variables {
		total += len(v.key) + len(v.value) + 2 // '=' and NUL, as the kernel counts
		if !variableName.MatchString(v.key) {
			f.fault(field, "%s is not the name of a variable: use 1 to 128 letters, digits and '_', no digit first", shown(v.key))
			continue
		}
		if why := refusal(v.key, v.value); why != "" {
			f.fault(field, "%s is refused: %s", v.key, why)
			continue
		}
		switch {
		case strings.ContainsRune(v.value, 0):
			f.fault(field, "the value of %s has a NUL in it: leave it out", v.key)
		case len(v.value) > maxVariableBytes:
			f.fault(field, "the value of %s has %d bytes: use at most %d", v.key, len(v.value), maxVariableBytes)
		case strings.HasPrefix(v.key, "NETLAB_"):
			shownValues[v.key] = v.value
		default:
			shownValues[v.key], secrets[v.key] = Masked, v.value
			if v.value != "" && len(v.value) < logtext.MinSecret {
				short = append(short, v.key)
			}
		}
	}
	if len(variables) > maxVariables {
		f.fault(field, "has %d variables: use at most %d", len(variables), maxVariables)
	}
	if total > maxEnvironmentBytes {
		f.fault(field, "has %d bytes: use at most %d", total, maxEnvironmentBytes)
	}
	if len(short) > 0 {
		f.warn("not masked in the log, being shorter than %d bytes: the value of %s", logtext.MinSecret, strings.Join(short, ", "))
	}
	if len(shownValues) == 0 {
		shownValues = nil
	}
	if len(secrets) == 0 {
		secrets = nil
	}
	return shownValues, secrets
}
