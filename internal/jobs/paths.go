package jobs

import (
	"path"
	"regexp"
	"strings"
	"unicode"
)

// As in Linux.
const (
	maxPath    = 4096
	maxElement = 255
)

// clean checks the words of a path and returns it in its shortest form, "" after a fault.
func (f *fields) clean(field, p string) string {
	problem := ""
	switch {
	case strings.ContainsFunc(p, unicode.IsControl):
		problem = "has a control character: leave it out"
	case strings.ContainsRune(p, unicode.ReplacementChar):
		problem = "has a character that is not valid Unicode: leave it out"
	case len(p) > maxPath:
		problem = "is longer than 4096 bytes: use a shorter one"
	}
	for element := range strings.SplitSeq(p, "/") {
		switch {
		case problem != "":
		case element == "..":
			problem = "has a '..' in it: write the path without"
		case len(element) > maxElement:
			problem = "has a name of more than 255 bytes in it: use a shorter one"
		}
	}
	if problem != "" {
		f.fault(field, "%s %s", shown(p), problem)
		return ""
	}
	return path.Clean(p)
}

// absolute returns an absolute path.
func (f *fields) absolute(field string) string {
	p := f.word(field)
	switch {
	case p == "":
		return ""
	case !strings.HasPrefix(p, "/"):
		f.fault(field, "%s is not absolute: begin with '/'", shown(p))
		return ""
	}
	return f.clean(field, p)
}

// within returns a path below the working directory, relative to it. It may come as an absolute one, which is not checked
// where the working directory is "", unknown for some other fault.
func (f *fields) within(field, given, workdir string) string {
	if given == "" {
		return ""
	}
	p := f.clean(field, given)
	if p == "" {
		return ""
	}
	if strings.HasPrefix(p, "/") {
		if workdir == "" {
			return ""
		}
		below, ok := cutRoot(p, workdir)
		if !ok {
			f.fault(field, "%s is not below the working directory %s: give a path relative to it", shown(given), shown(workdir))
			return ""
		}
		p = below
	}
	switch {
	case p == "." || p == "":
		f.fault(field, "%s is the working directory itself: name something in it", shown(given))
		return ""
	case strings.HasPrefix(p, "-"):
		f.fault(field, "%s begins with '-', which Netlab takes for an option: use another name", shown(given))
		return ""
	}
	return p
}

// cutRoot returns p without root, "" where they are equal, and whether p lies at or below root. Both are absolute and clean.
func cutRoot(p, root string) (string, bool) {
	if p == root {
		return "", true
	}
	return strings.CutPrefix(p, strings.TrimSuffix(root, "/")+"/")
}

// topologyPath leaves no way to what Netlab itself takes for something else than a file in the working directory.
func (f *fields) topologyPath(workdir string) string {
	const field = "topologyPath"
	p := f.word(field)
	switch {
	case strings.Contains(p, "://"):
		f.fault(field, "%s is a URL: send it as topologyUrl", shown(p))
		return ""
	case strings.HasPrefix(p, "package:") || strings.HasPrefix(p, "~"):
		f.fault(field, "%s is not a file in the working directory: give its path", shown(p))
		return ""
	}
	return f.within(field, p, workdir)
}

// Netlab hands these to Ansible as target=<output>, where a space or a brace means something, and to tar, where a colon does.
var collectedName = regexp.MustCompile(`^[A-Za-z0-9_.+@/-]*$`)

func (f *fields) collected(field, workdir string) string {
	return f.matching(field, f.within(field, f.word(field), workdir), collectedName,
		"letters, digits, '_', '.', '+', '@', '-' and '/'")
}

// workdir returns the working directory that the request means and the field it comes from, "" where it cannot be told.
func (q *Request) workdir() (dir, field string) {
	root, field := q.WorkspaceRoot, "workspaceRoot"
	switch {
	case q.Workdir != "":
		return q.Workdir, "workdir"
	case root == "" && q.User == "":
		return "", ""
	case root == "":
		root, field = "/home/"+q.User+"/netlab", "user"
	}
	if q.Workspace != "" && q.Deployment != "" {
		return path.Join(root, q.Workspace, q.Deployment), field
	}
	return root, field
}
