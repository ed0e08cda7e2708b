package bundle

import "io"

// blockSize is tar's, of which two with nothing in them are its end.
const blockSize = 512

// meter holds a stream to the limits while it is unpacked, and remembers how it ended.
type meter struct {
	r      io.Reader
	limits Limits
	// entry is the name of the entry that is read.
	entry string
	// packed is how much of the bundle has been read for what was unpacked so far.
	packed   func() int64
	unpacked int64
	// zeros is how many bytes before the place reached are zero.
	zeros int64
}

func (m *meter) Read(b []byte) (int, error) {
	n, err := m.r.Read(b)
	m.unpacked += int64(n)
	if last := lastNonZero(b[:n]); last < 0 {
		m.zeros += int64(n)
	} else {
		m.zeros = int64(n - 1 - last)
	}
	if refusal := growth(m.entry, m.unpacked, m.packed(), m.limits); refusal != nil {
		return 0, refusal
	}
	return n, err
}

// ended says whether tar's end has been read: whole blocks, of which the last two are empty.
func (m *meter) ended() bool { return m.unpacked%blockSize == 0 && m.zeros >= 2*blockSize }

func lastNonZero(b []byte) int {
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] != 0 {
			return i
		}
	}
	return -1
}

// growth refuses what has grown too large with the entry, at all or for what it was packed to.
func growth(name string, unpacked, packed int64, l Limits) error {
	grows := "makes the bundle grow"
	if name == "" {
		grows = "the bundle grows"
	}
	switch {
	case unpacked > l.Bytes:
		return refuse(name, "%s to more than %d bytes when it is unpacked: leave out what the lab does not need", grows, l.Bytes)
	case unpacked > freeBytes && unpacked/int64(l.Ratio) > packed:
		return refuse(name, "%s to more than %d times its packed size: leave out what is as empty as that", grows, l.Ratio)
	}
	return nil
}
