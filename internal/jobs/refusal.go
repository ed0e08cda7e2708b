package jobs

import (
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// refusal says why a client may not set the variable, "" where it may.
func refusal(name, value string) string {
	is := func(names ...string) bool { return slices.Contains(names, name) }
	begins := func(prefixes ...string) bool {
		return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) })
	}
	const leaveOut = ": leave it out"
	switch {
	case is("PATH", "HOME", "USER", "LOGNAME", "SHELL", "PWD", "OLDPWD", "MAIL"),
		is("TERM", "TERMCAP", "TERMINFO", "TERMINFO_DIRS", "TMP", "TEMP", "TEMPDIR", "TMPDIR"), begins("XDG_", "SUDO_"):
		return "the worker sets it for the user of the job" + leaveOut
	case begins("LD_", "DYLD_", "GLIBC_", "MALLOC_"),
		is("GCONV_PATH", "GETCONF_DIR", "HOSTALIASES", "LOCALDOMAIN", "LOCPATH", "NIS_PATH", "NLSPATH", "RESOLV_HOST_CONF", "RES_OPTIONS", "TZDIR"),
		is("OPENSSL_CONF", "OPENSSL_ENGINES", "OPENSSL_MODULES"):
		return "it changes which code and files the loader and the C library take" + leaveOut
	case begins("BASH_"), is("ENV", "IFS", "CDPATH", "GLOBIGNORE", "BASHOPTS", "SHELLOPTS", "POSIXLY_CORRECT", "PROMPT_COMMAND", "PS4"):
		return "it changes what shells do" + leaveOut
	case begins("PYTHON", "PERL", "RUBY", "GEM_", "NODE_", "NPM_", "JAVA_", "JDK_", "_JAVA", "LUA_", "PHP"), is("VIRTUAL_ENV", "CLASSPATH"):
		return "it changes what interpreters do" + leaveOut
	case begins("ANSIBLE_") && movesAnsible(name):
		return "it changes where Ansible looks for its files and code" + leaveOut
	case begins("SSH_", "GIT_SSH", "GIT_CONFIG", "GIT_EXEC_", "GIT_PROXY_", "GIT_TEMPLATE_"),
		is("GIT_ASKPASS", "GIT_DIR", "GIT_EDITOR", "GIT_EXTERNAL_DIFF", "GIT_PAGER", "GIT_SEQUENCE_EDITOR", "GIT_WORK_TREE"),
		is("BROWSER", "EDITOR", "LESSOPEN", "LESSCLOSE", "MANPAGER", "PAGER", "VISUAL"):
		return "it makes programs start others" + leaveOut
	case is("DOCKER_HOST", "DOCKER_CONFIG", "DOCKER_CONTEXT", "CONTAINER_HOST"),
		is("VAGRANT_CWD", "VAGRANT_DOTFILE_PATH", "VAGRANT_HOME", "VAGRANT_VAGRANTFILE"):
		return "it moves the lab to where it is not found again" + leaveOut
	case begins("CLAB_", "CONTAINERLAB_"):
		return "it is an option of containerlab's, which Netlab calls with those of the lab" + leaveOut
	case begins("NETLAB_API_", "NETLAB_BUS_", "NETLAB_WORKER_"):
		return "it is a setting of this service, not of Netlab" + leaveOut
	case begins("NETLAB_ARGS_", "NETLAB_PACKAGE_"), is("NETLAB_DEVICES"):
		return "Netlab uses it inside" + leaveOut
	case begins("NETLAB_"):
		if key := movedFiles(name, value); key != "" {
			return "the default " + key + " says where Netlab's own files are" + leaveOut
		}
	case strings.HasPrefix(strings.ToUpper(name), "NETLAB_"):
		return "Netlab takes it for a setting whatever its case: write NETLAB_ in capitals"
	}
	return ""
}

// movesAnsible says whether a variable of Ansible is one of the many that name files, folders or programs.
func movesAnsible(name string) bool {
	return slices.ContainsFunc([]string{
		"COLLECTIONS", "CONFIG", "DIR", "EXECUTABLE", "FILE", "HOME", "INTERPRETER", "INVENTORY", "LIBRARY", "LOCATION",
		"MODULE_UTILS", "PATH", "PLUGIN", "ROLES", "SCRIPT", "TEMP", "TMP",
	}, func(part string) bool { return strings.Contains(name, part) })
}

// movedFiles returns which of Netlab's defaults the variable NETLAB_… sets that say where files are, read, written or
// deleted; "" for none. Netlab puts the variable's name in lower case, makes dots of single and underscores of double
// underscores, and reads the value as YAML, so that a mapping sets all the defaults in it.
func movedFiles(name, value string) string {
	key := strings.ToLower(strings.TrimPrefix(name, "NETLAB_"))
	key = strings.ReplaceAll(strings.ReplaceAll(key, "_", "."), "..", "_")
	keys := []string{key}
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(value), &doc); err == nil && len(doc.Content) > 0 {
		if expandedSize(&doc) > maxYAMLNodes {
			return key
		}
		keys = append(keys, mappingKeys(key, doc.Content[0])...)
	}
	for _, key := range keys {
		elements := strings.Split(key, ".")
		for _, pattern := range [][]string{
			{"lab_status_file"},
			{"const", "stats_file"},
			{"paths"},
			{"sources"},
			{"automation"},
			{"netlab", "*", "output"},
			{"outputs", "*", "filename"},
			{"providers", "*", "cleanup"},
			{"providers", "*", "config"},
			{"providers", "*", "template"},
			{"providers", "*", "*", "filename"},
		} {
			if beginsWith(elements, pattern) {
				return key
			}
		}
	}
	return ""
}

func beginsWith(elements, pattern []string) bool {
	if len(elements) < len(pattern) {
		return false
	}
	for i, p := range pattern {
		if p != "*" && p != elements[i] {
			return false
		}
	}
	return true
}

// mappingKeys lists the dotted names of all that a mapping sets.
func mappingKeys(prefix string, n *yaml.Node) []string {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.MappingNode {
		return nil
	}
	var keys []string
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := prefix + "." + n.Content[i].Value
		if n.Content[i].Tag == "!!merge" {
			key = prefix
		}
		keys = append(keys, key)
		keys = append(keys, mappingKeys(key, n.Content[i+1])...)
	}
	return keys
}
