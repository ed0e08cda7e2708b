package logtext

// Forms are what a secret may look like in an output.
func Forms(secret string) []string { return forms(secret) }
