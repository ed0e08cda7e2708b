package api

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// Sizes of blocks, each with what frames it. A client has to take one within one write timeout, and holds its memory meanwhile: where
// many are at it, most have the small ones.
const (
	largeBlock  = writePiece
	smallBlock  = 4 << 10
	largeBlocks = 64
)

// A chunk is its size in hexadecimal digits, a line end, its bytes, and a line end.
const (
	chunkHead = len("ffff\r\n")
	chunkTail = len("\r\n")
)

// source is a stream for which one can wait without a buffer in the hands.
type source interface {
	// Read returns as soon as there is anything. It never returns bytes and an error.
	io.Reader
	// await returns once Read need not wait, or the error that Read would return.
	await() error
}

// blockStream sends a source in blocks, each with one write. The server below would copy them through the buffer of its connection,
// which is small since each connection has one. A block is taken to be read and sent, so clients that wait for a line have none.
type blockStream struct {
	survivor
	source source
	conn   net.Conn
	blocks *blockPool
	// chunked says that the length of the answer is not known before, so that each block is a chunk.
	chunked bool
}

// SupportsBodyWriteTo has the server below call WriteTo, and not Read.
func (b *blockStream) SupportsBodyWriteTo() bool { return true }

// WriteTo writes to the connection itself: the server's own writer, which is empty once the headers are sent, would frame chunks
// once more. The server adds the chunk that ends the answer.
func (b *blockStream) WriteTo(io.Writer) (written int64, err error) {
	defer b.server.survive(&err)
	for {
		n, err := b.send()
		written += int64(n)
		if errors.Is(err, io.EOF) {
			return written, nil
		}
		if err != nil {
			return written, err
		}
	}
}

// send sends the next block, of n bytes without its frame.
func (b *blockStream) send() (n int, err error) {
	if err := b.source.await(); err != nil {
		return 0, err
	}
	taken := b.blocks.take()
	defer b.blocks.give(taken)
	block := *taken
	n, err = b.source.Read(block[chunkHead : len(block)-chunkTail])
	if err != nil {
		return 0, err
	}
	begin, end := chunkHead, chunkHead+n
	if b.chunked {
		size := fmt.Appendf(nil, "%x\r\n", n)
		begin -= len(size)
		copy(block[begin:], size)
		end += copy(block[end:], "\r\n")
	}
	_, err = b.conn.Write(block[begin:end])
	return n, err
}

// blockPool has the memory of blocks that are read and sent just now.
type blockPool struct {
	// room has the large blocks in use.
	room         chan struct{}
	large, small sync.Pool
}

func newBlockPool() *blockPool {
	blocks := func(size int) sync.Pool {
		return sync.Pool{New: func() any { block := make([]byte, size); return &block }}
	}
	return &blockPool{room: make(chan struct{}, largeBlocks), large: blocks(largeBlock), small: blocks(smallBlock)}
}

// take returns a block, until give: a large one where there is room.
func (p *blockPool) take() *[]byte {
	pool := &p.small
	select {
	case p.room <- struct{}{}:
		pool = &p.large
	default:
	}
	return pool.Get().(*[]byte) //nolint:forcetypeassert // nothing else is put there
}

func (p *blockPool) give(block *[]byte) {
	if len(*block) == smallBlock {
		p.small.Put(block)
		return
	}
	p.large.Put(block)
	<-p.room
}

// filled is a source of what is all there: it waits for nothing, and fills each block.
type filled struct{ io.Reader }

func (f filled) await() error { return nil }

// Read is as of any source.
func (f filled) Read(p []byte) (int, error) {
	n, err := io.ReadFull(f.Reader, p)
	if n > 0 {
		return n, nil // an error comes again
	}
	return 0, err
}

// takeReady copies what is ready into p. Once all is taken, its memory is let go.
func takeReady(p, ready []byte) (n int, rest []byte) {
	n = copy(p, ready)
	if n == len(ready) {
		return n, nil
	}
	return n, ready[n:]
}
