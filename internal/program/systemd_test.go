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

const noListener = "one ListenStream= with an address and a port"

// playListen says what becomes of the sockets that it was given.
func playListen() {
	err := os.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid()))
	var l net.Listener
	if err == nil {
		l, err = Listen(context.Background(), &settings.HTTP{Bind: "127.0.0.1"})
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(l.Addr())
}

// The socket that systemd holds is used, whatever address the settings name, and after the rules for those. What is no socket for
// streams is named.
func TestWhatSystemdHolds(t *testing.T) {
	t.Parallel()
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	tcp := socket[net.Listener](t, net.Listen, "tcp", "127.0.0.1:0")
	address, err := net.FileListener(tcp)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = address.Close() })
	open := socket[net.Listener](t, net.Listen, "tcp", "0.0.0.0:0")
	unix := socket[net.Listener](t, net.Listen, "unix", filepath.Join(t.TempDir(), "socket"))
	udp := socket[net.PacketConn](t, net.ListenPacket, "udp", "127.0.0.1:0")
	for name, test := range map[string]struct {
		files []*os.File
		want  string
	}{
		"tcp":           {[]*os.File{tcp}, address.Addr().String()},
		"all may reach": {[]*os.File{open}, "2 faults in the settings"},
		"two":           {[]*os.File{tcp, tcp}, noListener},
		"unix":          {[]*os.File{unix}, noListener},
		"udp":           {[]*os.File{udp}, noListener},
		"file":          {[]*os.File{file}, noListener},
		"not open":      {nil, noListener},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := play(t, "listen", test.files)
			p.lines.Scan()
			said := p.lines.Text()
			if err := p.cmd.Wait(); err != nil {
				t.Fatalf("%v: %q", err, said)
			}
			if !strings.Contains(said, test.want) {
				t.Errorf("%q, want %q", said, test.want)
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
