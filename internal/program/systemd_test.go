package program

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"netlab-runner/internal/settings"
)

// playListen says what becomes of the sockets that it was given.
func playListen() {
	err := os.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid()))
	if err == nil {
		_, err = listen(context.Background(), &settings.HTTP{Bind: "127.0.0.1"})
	}
	fmt.Println(err)
}

// What is no socket for streams is named, whatever a unit has systemd hold.
func TestWhatSystemdHolds(t *testing.T) {
	t.Parallel()
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	tcp := socket[net.Listener](t, net.Listen, "tcp", "127.0.0.1:0")
	unix := socket[net.Listener](t, net.Listen, "unix", filepath.Join(t.TempDir(), "socket"))
	udp := socket[net.PacketConn](t, net.ListenPacket, "udp", "127.0.0.1:0")
	for name, test := range map[string]struct {
		files []*os.File
		good  bool
	}{
		"tcp":      {[]*os.File{tcp}, true},
		"two":      {[]*os.File{tcp, tcp}, false},
		"unix":     {[]*os.File{unix}, false},
		"udp":      {[]*os.File{udp}, false},
		"file":     {[]*os.File{file}, false},
		"not open": {nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := play(t, "listen", test.files)
			p.lines.Scan()
			said := p.lines.Text()
			if err := p.cmd.Wait(); err != nil {
				t.Fatalf("%v: %q", err, said)
			}
			if good := said == "<nil>"; good != test.good || !good && !strings.Contains(said, "one ListenStream= with an address and a port") {
				t.Errorf("%q", said)
			}
		})
	}
}

// socket opens a socket that listens, and returns its file.
func socket[S interface{ Close() error }](t *testing.T, listen func(network, address string) (S, error), network, address string) *os.File {
	t.Helper()
	s, err := listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	file, err := any(s).(interface{ File() (*os.File, error) }).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	return file
}
