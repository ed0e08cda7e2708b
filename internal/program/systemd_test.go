package program

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

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

// playWatch is alive as often as a line comes, and hangs until one does. It is to end when no more will come.
func playWatch() {
	ctx, cancel := context.WithCancel(context.Background())
	lines := bufio.NewScanner(os.Stdin)
	Watch(ctx, func() {
		if !lines.Scan() {
			cancel()
		}
	}, slog.Default())
	fmt.Println("ends")
}

// systemd is told that a program is alive when its check has returned, each time anew, and often enough. One that hangs is silent.
func TestWatchSaysThatAProgramIsAlive(t *testing.T) {
	t.Parallel()
	const interval, every = 1200 * time.Millisecond, 400 * time.Millisecond
	path := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = manager.Close() })
	// signs waits until there are so many, or for so long, and returns how many there were.
	signs := func(most int, wait time.Duration) (n int) {
		t.Helper()
		if err := manager.SetReadDeadline(time.Now().Add(wait)); err != nil {
			t.Fatal(err)
		}
		for text := make([]byte, 1024); n < most; n++ {
			size, err := manager.Read(text)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if said := string(text[:size]); err != nil || said != "WATCHDOG=1" {
				t.Fatalf("it says %q, %v", said, err)
			}
		}
		return n
	}
	p := play(t, "watch", nil, "env", "-u", "WATCHDOG_PID", "NOTIFY_SOCKET="+path, fmt.Sprintf("WATCHDOG_USEC=%d", interval.Microseconds()))
	alive := func(times int) {
		t.Helper()
		if _, err := io.WriteString(p.input, strings.Repeat("\n", times)); err != nil {
			t.Fatal(err)
		}
	}
	if n := signs(1, interval); n > 0 {
		t.Error("it hangs from the beginning, and is said to be alive")
	}
	alive(1)
	if signs(1, time.Minute) != 1 {
		t.Fatal("nobody says that it is alive")
	}
	if n := signs(1, interval); n > 0 {
		t.Error("it hangs, and is said to be alive")
	}
	const more = 5
	alive(more)
	began := time.Now()
	if n := signs(more, time.Minute); n != more {
		t.Fatalf("%d signs of %d", n, more)
	}
	// The first comes at once, and the second may, of a tick that nobody has heard.
	if took := time.Since(began); took < (more-3)*every || took >= (more-3)*interval {
		t.Errorf("%d signs took %v", more, took)
	}
	p.endsInOrder()
}

// Where nobody waits for it nothing is said, and nothing is checked.
func TestWatchWithoutAWatchdog(t *testing.T) {
	t.Parallel()
	for name, command := range map[string][]string{
		"none":        {"env", "-u", "WATCHDOG_USEC"},
		"of another":  {"env", "WATCHDOG_USEC=1000000", "WATCHDOG_PID=1"},
		"no interval": {"env", "WATCHDOG_USEC=0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := play(t, "watch", nil, command...)
			p.says("ends")
			if err := p.cmd.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
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
