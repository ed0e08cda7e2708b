package e2e_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// wire stands between one client of the bus and the server, and reads what goes over it message by message.
type wire struct {
	server   string
	listener net.Listener
	running  sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn

	watching sync.Mutex
	watch    watcher
	// clients is how many clients there were before the one that is watched.
	clients int
}

// watcher is called with each message that the client publishes and that asks for an answer: before it goes to the server, and
// once more when the answer has come and the client does not have it yet. What it says is lost goes no further. It is called by one goroutine at a time.
type watcher func(at moment, m *frame) (lost bool)

// moment is where in a message's way the watcher is called.
type moment string

const (
	before   moment = "before it arrives"
	answered moment = "when it has arrived, and the answer has not"
)

// frame is one line of NATS's protocol with its payload.
type frame struct {
	verb, subject, reply string
	header, payload      []byte
	raw                  []byte
}

// newWire listens for a client of the server at that address.
func newWire(t *testing.T, server string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{server: server, listener: l}
	w.running.Go(w.accept)
	t.Cleanup(func() {
		_ = l.Close()
		w.mu.Lock()
		for _, c := range w.conns {
			_ = c.Close()
		}
		w.mu.Unlock()
		w.running.Wait()
	})
	return w
}

func (w *wire) url() string { return "nats://" + w.listener.Addr().String() }

// setWatch has another watcher called from now on, nil for none.
func (w *wire) setWatch(f watcher) {
	w.watching.Lock()
	defer w.watching.Unlock()
	w.watch = f
}

// forget is for a watcher that has ended its client: what is still under way of that one is nobody's business.
func (w *wire) forget() { w.clients++ }

func (w *wire) isLost(client int, at moment, m *frame) bool {
	w.watching.Lock()
	defer w.watching.Unlock()
	return w.watch != nil && client == w.clients && w.watch(at, m)
}

func (w *wire) accept() {
	for {
		client, err := w.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", w.server)
		if err != nil {
			_ = client.Close()
			continue
		}
		w.mu.Lock()
		w.conns = append(w.conns, client, server)
		w.mu.Unlock()
		w.watching.Lock()
		number := w.clients
		w.watching.Unlock()
		var asked sync.Map // of this connection, by the subject of the answer
		w.running.Go(func() {
			pass(client, server, func(m *frame) bool {
				if m.reply == "" || m.verb != "PUB" && m.verb != "HPUB" {
					return false
				}
				asked.Store(m.reply, m)
				return w.isLost(number, before, m)
			})
		})
		w.running.Go(func() {
			pass(server, client, func(m *frame) bool {
				question, is := asked.LoadAndDelete(m.subject)
				return is && w.isLost(number, answered, question.(*frame))
			})
		})
	}
}

// pass copies frames until one side ends, but for those that are lost.
func pass(from, to net.Conn, lost func(*frame) bool) {
	defer func() { _, _ = from.Close(), to.Close() }()
	for r := bufio.NewReader(from); ; {
		m, err := readFrame(r)
		if err != nil {
			return
		}
		if lost(m) {
			continue
		}
		if _, err := to.Write(m.raw); err != nil {
			return
		}
	}
}

// readFrame reads what one side says next. Of messages it knows the parts, of all else the line.
func readFrame(r *bufio.Reader) (*frame, error) {
	line, err := r.ReadBytes('\n')
	if err != nil {
		return nil, err
	}
	m := &frame{raw: line}
	words := strings.Fields(string(line))
	if len(words) == 0 {
		return m, nil
	}
	m.verb = strings.ToUpper(words[0])
	sizes := 1 // how many of the last words are lengths: of the header and of both, or of the payload alone
	switch m.verb {
	case "PUB", "MSG":
	case "HPUB", "HMSG":
		sizes = 2
	default:
		return m, nil
	}
	names, lengths := words[1:len(words)-sizes], words[len(words)-sizes:]
	if strings.HasSuffix(m.verb, "MSG") {
		names = append(names[:1:1], names[2:]...) // without the subscription's number
	}
	m.subject = names[0]
	if len(names) > 1 {
		m.reply = names[1]
	}
	total, err := strconv.Atoi(lengths[sizes-1])
	if err != nil {
		return nil, fmt.Errorf("length in %q: %w", line, err)
	}
	head := 0
	if sizes == 2 {
		if head, err = strconv.Atoi(lengths[0]); err != nil {
			return nil, fmt.Errorf("length in %q: %w", line, err)
		}
	}
	body := make([]byte, total+len("\r\n"))
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, err
	}
	m.header, m.payload = body[:head], body[head:total]
	m.raw = append(bytes.Clone(line), body...)
	return m, nil
}
