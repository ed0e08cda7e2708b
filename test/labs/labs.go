// Package labs has sample labs for tests, as files and as what Copy lays out.
//
//	frr3      three FRR routers with OSPF
//	linux2    two hosts and a router on one segment, which needs a bridge on the host
//	external  Netlab's external provider, which starts nothing
//	chatter   a plugin makes the run slow, talkative, or crash; chatter.json drives it
//	broken    a topology that Netlab refuses
package labs

import (
	"embed"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

//go:embed broken chatter external frr3 linux2
var files embed.FS

// Copy lays out the sample lab in the folder dir, which is made if it is missing. Netlab names a lab after its folder.
func Copy(t testing.TB, lab, dir string) {
	t.Helper()
	source, err := fs.Sub(files, lab)
	if err != nil {
		t.Fatalf("sample lab %s: %v", lab, err)
	}
	entries, err := fs.ReadDir(source, ".")
	if err != nil {
		t.Fatalf("sample lab %s: %v", lab, err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		text, err := fs.ReadFile(source, entry.Name())
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, entry.Name()), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
