package logtext

// MinSecret is the length in bytes from which on a secret is masked. A shorter one would match by chance all over the log.
const MinSecret = 6

const mask = "***"

// masker replaces, in a stream, each stretch of bytes that occurrences of secrets cover by one mask. Occurrences that overlap
// are one stretch: to mask the leftmost and go on behind it would leave the tail of the other readable.
//
// It is an Aho-Corasick automaton: one step a byte whatever the secrets are, so that secrets and output made to match each
// other, both from the same client, cannot stall a worker.
type masker struct {
	nodes []node
	first [256]int32 // children of the root

	state int32  // the node of the longest suffix of the stream that begins a secret
	held  []byte // the bytes from base on: none of them is decided
	base  int64  // offset of held[0] in the stream
	// spans are the stretches known so far that end behind base, in order and apart. One that begins before base has had
	// its mask already.
	spans []span
}

// node is a beginning of a secret. Node 0 is the empty one.
type node struct {
	child, sibling int32 // 0: none
	fail           int32 // the longest proper suffix that is a node too
	depth          int32 // the length of the beginning
	match          int32 // the length of the longest secret that ends here, 0 if none does
	open           int32 // the length of the longest suffix, itself included, that a secret goes on from
	key            byte
}

type span struct{ from, to int64 }

// newMasker returns nil where there is nothing to mask: a nil masker copies.
func newMasker(secrets []string) *masker {
	m := &masker{nodes: make([]node, 1)}
	for _, s := range secrets {
		for _, form := range forms(s) {
			m.add(form)
		}
	}
	if len(m.nodes) == 1 {
		return nil
	}
	m.link()
	return m
}

func (m *masker) add(secret string) {
	at := int32(0)
	for i := range len(secret) {
		next := m.child(at, secret[i])
		if next == 0 {
			next = int32(len(m.nodes))
			m.nodes = append(m.nodes, node{key: secret[i], depth: int32(i) + 1, sibling: m.nodes[at].child})
			m.nodes[at].child = next
			if at == 0 {
				m.first[secret[i]] = next
			}
		}
		at = next
	}
	m.nodes[at].match = int32(len(secret))
}

// link fills in what depends on shorter suffixes, in order of depth.
func (m *masker) link() {
	queue := []int32{0}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		for c := m.nodes[at].child; c != 0; c = m.nodes[c].sibling {
			n := &m.nodes[c]
			if at != 0 {
				n.fail = m.step(m.nodes[at].fail, n.key)
			}
			if n.match == 0 {
				n.match = m.nodes[n.fail].match
			}
			n.open = n.depth
			if n.child == 0 {
				n.open = m.nodes[n.fail].open
			}
			queue = append(queue, c)
		}
	}
}

func (m *masker) child(at int32, key byte) int32 {
	if at == 0 {
		return m.first[key]
	}
	c := m.nodes[at].child
	for c != 0 && m.nodes[c].key != key {
		c = m.nodes[c].sibling
	}
	return c
}

func (m *masker) step(at int32, key byte) int32 {
	for {
		if c := m.child(at, key); c != 0 || at == 0 {
			return c
		}
		at = m.nodes[at].fail
	}
}

// write appends to dst what the stream is up to the first byte that p leaves undecided.
func (m *masker) write(dst, p []byte) []byte {
	if m == nil {
		return append(dst, p...)
	}
	begin := m.base + int64(len(m.held))
	m.held = append(m.held, p...)
	for i := 0; i < len(p); i++ {
		if m.state == 0 {
			if i += m.skip(p[i:]); i == len(p) {
				break
			}
		}
		m.state = m.step(m.state, p[i])
		if n := m.nodes[m.state].match; n > 0 {
			end := begin + int64(i) + 1
			m.cover(span{end - int64(n), end})
		}
	}
	return m.flush(dst, len(m.held)-int(m.nodes[m.state].open))
}

// close appends what is left of the stream and starts over.
func (m *masker) close(dst []byte) []byte {
	if m == nil {
		return dst
	}
	dst = m.flush(dst, len(m.held))
	m.reset()
	return dst
}

func (m *masker) reset() {
	if m != nil {
		m.state, m.held, m.base, m.spans = 0, m.held[:0], 0, m.spans[:0]
	}
}

func (m *masker) waiting() bool { return m != nil && len(m.held) > 0 }

// skip counts the bytes before the first that begins a secret.
func (m *masker) skip(p []byte) int {
	for i, b := range p {
		if m.first[b] != 0 {
			return i
		}
	}
	return len(p)
}

// cover adds an occurrence, which ends behind all earlier ones.
func (m *masker) cover(s span) {
	n := len(m.spans)
	for n > 0 && m.spans[n-1].to > s.from {
		n--
		s.from = min(s.from, m.spans[n].from)
	}
	m.spans = append(m.spans[:n], s)
}

// flush appends the first n held bytes with their masks.
func (m *masker) flush(dst []byte, n int) []byte {
	at, end := m.base, m.base+int64(n)
	kept := m.spans[:0]
	for _, s := range m.spans {
		if s.from < end && s.from >= m.base {
			dst = append(dst, m.held[at-m.base:s.from-m.base]...)
			dst = append(dst, mask...)
		}
		if s.from < end {
			at = min(s.to, end)
		}
		if s.to > end {
			kept = append(kept, s)
		}
	}
	dst = append(dst, m.held[at-m.base:n]...)
	m.spans, m.base = kept, end
	m.held = m.held[:copy(m.held, m.held[n:])]
	return dst
}
