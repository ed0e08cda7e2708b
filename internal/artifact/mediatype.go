package artifact

import (
	"path"
	"strings"
)

const (
	plainText = "text/plain; charset=utf-8"
	yamlText  = "text/yaml; charset=utf-8"
	unknown   = "application/octet-stream"
)

// byExtension has the types of what Netlab, its devices and its tools leave. The machine's own table is not asked: the same
// file has the same type from every API.
var byExtension = map[string]string{ //nolint:gochecknoglobals // a table that is never written
	".yml": yamlText, ".yaml": yamlText,
	".json": "application/json",
	".xml":  "application/xml",
	".html": "text/html; charset=utf-8", ".htm": "text/html; charset=utf-8",
	".csv": "text/csv; charset=utf-8",
	".md":  "text/markdown; charset=utf-8",
	".svg": "image/svg+xml", ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif",
	".pdf": "application/pdf",
	".tar": "application/x-tar", ".gz": "application/gzip", ".tgz": "application/gzip", ".zip": "application/zip",
	".xz": "application/x-xz", ".bz2": "application/x-bzip2", ".zst": "application/zstd",
	".pcap": "application/vnd.tcpdump.pcap", ".pcapng": "application/vnd.tcpdump.pcap",
	".txt": plainText, ".log": plainText, ".cfg": plainText, ".conf": plainText, ".config": plainText, ".ini": plainText,
	".j2": plainText, ".py": plainText, ".sh": plainText, ".toml": plainText, ".env": plainText, ".out": plainText,
	".rc": plainText, ".set": plainText, ".vtysh": plainText, ".dot": plainText, ".gv": plainText, ".d2": plainText,
	".pub": plainText, ".lock": plainText, ".service": plainText,
}

// byName has those of files whose names end in nothing that tells.
var byName = map[string]string{ //nolint:gochecknoglobals // as above
	"Vagrantfile": plainText, "Makefile": plainText, "Dockerfile": plainText, "README": plainText, "hosts": plainText,
	"daemons": plainText, "authorized_keys": plainText,
}

// TypeOf is the media type of a file, by its name alone.
func TypeOf(name string) string {
	name = path.Base(name)
	if t, ok := byName[name]; ok {
		return t
	}
	if t, ok := byExtension[strings.ToLower(path.Ext(name))]; ok {
		return t
	}
	return unknown
}
